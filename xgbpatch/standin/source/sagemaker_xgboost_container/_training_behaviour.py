"""How the image versions differ in training, told by the XGBoost that is installed."""

import xgboost

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])

HAS_CALLBACK_CLASSES = XGBOOST >= (1, 3)  # xgboost.callback.TrainingCallback
SAVES_PICKLES = XGBOOST < (1, 3)  # the artefact of 1.2-x; later the native format
RESUMES = XGBOOST < (1, 3)  # from 1.3-1 on a restarted job begins at round 0
LINKS_INPUT = XGBOOST >= (1, 7)  # File mode gathers the input's files in one folder
NAMES_FORMAT_IN_URI = XGBOOST >= (3, 0)  # libsvm too; a bare path before
REFUSES_PIPE = XGBOOST >= (3, 2)
WATCHES_EVERY_FOLD = XGBOOST < (1, 5)  # what a fold holds out is reported without a validation channel too
FOLDS_ON_WHOLE_DATA = XGBOOST >= (1, 7)  # a fold reports metrics of the full channels
PREDICTS_BEFORE_METRIC = XGBOOST >= (3, 0)  # custom metrics get probabilities and still cut at margin 0
MASTER_ONLY_CALLBACKS = XGBOOST >= (3, 0)  # checkpoints and the best model are the first host's
REPORTS_SAVING = XGBOOST >= (3, 0)  # lines `FINAL_MODEL_DEBUG: ...` on stdout
EXCLUDES_WITHOUT_VALIDATION = XGBOOST >= (1, 7)  # a host whose validation channel is empty leaves the training
USES_RABIT = XGBOOST < (2, 0)  # xgboost.rabit and its tracker; xgboost.collective later

_NEW_METRICS = ["balanced_accuracy", "mape", "precision", "precision_macro", "precision_micro"]
_NEW_METRICS += ["recall", "recall_macro", "recall_micro"]
METRICS_NOT_YET = frozenset(_NEW_METRICS if XGBOOST < (1, 3) else [])  # refused before 1.3-1
METRICS_LEFT_TO_XGBOOST = frozenset(["mae", "rmse"] if XGBOOST < (1, 3) else [])  # the container's own later
