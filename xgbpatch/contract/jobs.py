"""The training jobs that the checks ask for; each runs once, where a check that applies needs it."""

from __future__ import annotations

from xgbpatch.contract import abalone
from xgbpatch.contract.training import Job

NAMES = ("column 0", *abalone.NAMES)  # libsvm training sees a column in front of the features
OBSERVED_BACKGROUND = 20  # rows

ABALONE = Job("abalone")
ABALONE_CSV = Job("abalone-csv", content_type="text/csv", changed=(("eta", "0.2"),))
BAD = Job("user-error", changed=(("eta", "2"),))  # outside [0, 1]
LOGISTIC = Job(
    "logistic", old=True, changed=(("objective", "binary:logistic"), ("eval_metric", "error,accuracy"))
)  # fmt: skip
# Deep trees: rows that a fold was trained on look far better than those it was not.
K_FOLD = Job(
    "k-fold", old=True,
    changed=(("objective", "binary:hinge"), ("_kfold", "3"), ("eval_metric", "error"), ("max_depth", "8")),
)  # fmt: skip
UNSTATED = Job("no-objective", changed=(("objective", ""), ("eval_metric", "mae")))
INTERRUPTED = Job("interrupted", changed=(("num_round", "4"),), keeps_checkpoints=True)
RESUMED = Job("resumed", changed=(("num_round", "10"),), after=INTERRUPTED)
FOLDS = Job("folds", changed=(("_kfold", "2"), ("num_round", "2")), keeps_checkpoints=True)
FOLDS_AGAIN = Job("folds-again", changed=FOLDS.changed, after=FOLDS)
OBSERVED = Job(
    "observed",
    changed=(
        ("eval_metric", "mae"), ("xgbpatch_feature_names", ",".join(NAMES)), ("xgbpatch_importance_rows", "0"),
        ("xgbpatch_background_rows", str(OBSERVED_BACKGROUND)),
        ("xgbpatch_metrics", "sklearn.metrics.mean_absolute_error"),
    ),
)  # fmt: skip
