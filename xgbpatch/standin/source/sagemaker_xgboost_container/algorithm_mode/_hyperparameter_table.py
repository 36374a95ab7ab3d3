"""Every hyperparameter of algorithm mode: its kind, its range, and the versions of XGBoost in which it counts."""

from collections import namedtuple

from sagemaker_algorithm_toolkit.hyperparameter_validation import (
    CategoricalHyperparameter,
    ContinuousHyperparameter,
    IntegerHyperparameter,
    Interval,
    NestedListHyperparameter,
    TupleHyperparameter,
)

EVERY = (0, 0), (99, 0)
SINCE_1_3 = (1, 3), (99, 0)
SINCE_1_5 = (1, 5), (99, 0)
SINCE_1_7 = (1, 7), (99, 0)
BEFORE_1_7 = (0, 0), (1, 7)

Row = namedtuple("Row", "kind name range versions tunable")  # versions: the first, and the first without it


def _row(kind, name, range_=None, versions=EVERY, tunable=False):
    return Row(kind, name, range_, versions, tunable)


_SHARE = Interval(min_closed=0, max_closed=1)
_PART = Interval(min_open=0, max_closed=1)
_NOT_NEGATIVE = Interval(min_closed=0)
_COUNT = Interval(min_closed=1)
_SWITCH = Interval(min_closed=0, max_closed=1)
_TRUTH = ["true", "false"]

_TREES = [
    _row(ContinuousHyperparameter, "eta", _SHARE, tunable=True),
    _row(ContinuousHyperparameter, "gamma", _NOT_NEGATIVE, tunable=True),
    _row(IntegerHyperparameter, "max_depth", _NOT_NEGATIVE, tunable=True),
    _row(ContinuousHyperparameter, "min_child_weight", _NOT_NEGATIVE, tunable=True),
    _row(ContinuousHyperparameter, "max_delta_step", _NOT_NEGATIVE, tunable=True),
    _row(ContinuousHyperparameter, "subsample", _PART, tunable=True),
    _row(ContinuousHyperparameter, "colsample_bytree", _PART, tunable=True),
    _row(ContinuousHyperparameter, "colsample_bylevel", _PART, tunable=True),
    _row(ContinuousHyperparameter, "colsample_bynode", _PART, tunable=True),
    _row(ContinuousHyperparameter, "lambda", _NOT_NEGATIVE, tunable=True),
    _row(ContinuousHyperparameter, "alpha", _NOT_NEGATIVE, tunable=True),
    _row(CategoricalHyperparameter, "tree_method", ["auto", "exact", "approx", "hist", "gpu_hist"]),
    _row(ContinuousHyperparameter, "sketch_eps", Interval(min_open=0, max_open=1)),
    _row(ContinuousHyperparameter, "scale_pos_weight", Interval(min_open=0)),
    _row(IntegerHyperparameter, "refresh_leaf", _SWITCH),
    _row(CategoricalHyperparameter, "process_type", ["default", "update"]),
    _row(CategoricalHyperparameter, "grow_policy", ["depthwise", "lossguide"]),
    _row(IntegerHyperparameter, "max_leaves", _NOT_NEGATIVE),
    _row(IntegerHyperparameter, "max_bin", _NOT_NEGATIVE),
    _row(CategoricalHyperparameter, "predictor", ["auto", "cpu_predictor", "gpu_predictor"]),
    _row(CategoricalHyperparameter, "dsplit", ["row", "col"]),
    _row(IntegerHyperparameter, "num_parallel_tree", _COUNT),
    _row(TupleHyperparameter, "monotone_constraints", [-1, 0, 1]),
    _row(NestedListHyperparameter, "interaction_constraints", _COUNT),
    _row(CategoricalHyperparameter, "sampling_method", ["uniform", "gradient_based"], SINCE_1_3),
    _row(IntegerHyperparameter, "prob_buffer_row", _COUNT, SINCE_1_3),
    _row(CategoricalHyperparameter, "single_precision_histogram", _TRUTH, BEFORE_1_7),
    _row(CategoricalHyperparameter, "deterministic_histogram", _TRUTH),
]

_BOOSTERS = [
    _row(CategoricalHyperparameter, "booster", ["gbtree", "gblinear", "dart"]),
    _row(CategoricalHyperparameter, "sample_type", ["uniform", "weighted"]),
    _row(CategoricalHyperparameter, "normalize_type", ["tree", "forest"]),
    _row(ContinuousHyperparameter, "rate_drop", _SHARE),
    _row(IntegerHyperparameter, "one_drop", _SWITCH),
    _row(ContinuousHyperparameter, "skip_drop", _SHARE),
    _row(ContinuousHyperparameter, "lambda_bias", _SHARE),
]

_TASK = [
    _row(IntegerHyperparameter, "num_class", Interval(min_closed=2)),
    _row(ContinuousHyperparameter, "base_score", _NOT_NEGATIVE),
    _row(ContinuousHyperparameter, "tweedie_variance_power", Interval(min_open=1, max_open=2)),
    _row(CategoricalHyperparameter, "aft_loss_distribution", ["normal", "logistic", "extreme"]),
    _row(ContinuousHyperparameter, "aft_loss_distribution_scale", Interval(min_open=0)),
]

_JOB = [
    _row(IntegerHyperparameter, "csv_weights", _SWITCH),
    _row(IntegerHyperparameter, "early_stopping_rounds", _COUNT),
    _row(CategoricalHyperparameter, "save_model_on_termination", _TRUTH),
    _row(IntegerHyperparameter, "nthread", _COUNT),
    _row(IntegerHyperparameter, "seed", Interval(min_open=-(2**31), max_open=2**31 - 1)),
    _row(IntegerHyperparameter, "verbosity", Interval(min_closed=0, max_closed=3)),
    _row(IntegerHyperparameter, "_kfold", Interval(min_closed=2)),
    _row(IntegerHyperparameter, "_num_cv_round", _COUNT),
    _row(CategoricalHyperparameter, "use_dask_gpu_training", _TRUTH, SINCE_1_5),
]

_UPDATERS = [
    ("grow_colmaker", EVERY),
    ("distcol", EVERY),
    ("grow_histmaker", EVERY),
    ("grow_local_histmaker", BEFORE_1_7),
    ("grow_skmaker", EVERY),
    ("sync", EVERY),
    ("refresh", EVERY),
    ("prune", EVERY),
    ("shotgun", EVERY),
    ("coord_descent", EVERY),
]

_OBJECTIVES = [
    ("binary:logistic", EVERY),
    ("binary:logitraw", EVERY),
    ("binary:hinge", EVERY),
    ("count:poisson", EVERY),
    ("multi:softmax", EVERY),
    ("multi:softprob", EVERY),
    ("rank:pairwise", EVERY),
    ("rank:ndcg", EVERY),
    ("rank:map", EVERY),
    ("reg:linear", EVERY),
    ("reg:squarederror", EVERY),
    ("reg:squaredlogerror", EVERY),
    ("reg:absoluteerror", SINCE_1_7),
    ("reg:pseudohubererror", EVERY),
    ("reg:logistic", EVERY),
    ("reg:gamma", EVERY),
    ("reg:tweedie", EVERY),
    ("survival:aft", EVERY),
    ("survival:cox", EVERY),
]

ALIASES = [
    ("eta", "learning_rate"),
    ("gamma", "min_split_loss"),
    ("lambda", "reg_lambda"),
    ("alpha", "reg_alpha"),
]


def rows(version):
    """The rows without dependencies or special ranges that count in `version`, a pair such as (1, 5)."""
    return [row for row in _TREES + _BOOSTERS + _TASK + _JOB if _counts(row.versions, version)]


def objectives(version):
    return [name for name, versions in _OBJECTIVES if _counts(versions, version)]


def updaters(version):
    return [name for name, versions in _UPDATERS if _counts(versions, version)]


def _counts(versions, version):
    return versions[0] <= version < versions[1]
