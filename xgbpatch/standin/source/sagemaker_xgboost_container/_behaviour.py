"""How the image versions differ in serving, told by the XGBoost and Python that are installed.

What follows from the versions of other packages (pickle and binary compatibility, `scipy.stats.mode`, number texts)
needs no flag: it happens by itself.
"""

import pkg_resources

XGBOOST = tuple(int(part) for part in pkg_resources.get_distribution("xgboost").version.split(".")[:2])

SKIPS_DOTFILES = XGBOOST >= (1, 3)  # 1.2-2 tries to load them
COUNTS_FEATURES_BY_NAME = XGBOOST < (1, 5)  # a pickled model's width: feature_names, later num_features()
SETS_ONE_THREAD = XGBOOST >= (1, 5)  # OMP_NUM_THREADS=1 unless set
TUNES_GUNICORN = XGBOOST == (1, 5)  # log level and keep-alive by environment: 1.5-1 only
SELECTS_ABSOLUTE_ERROR = XGBOOST >= (1, 7)
TAKES_NTREE_LIMIT = XGBOOST < (2, 0)  # later the same number is taken for a bound of iterations
SHIFTS_LIBSVM_INDICES = XGBOOST >= (3, 2)  # a request whose smallest index is 1 or more moves down by one
FILLS_SCRIPT_LIBSVM = XGBOOST >= (3, 2)  # script mode: an absent libsvm feature is 0, before it was missing
REFUSES_EMPTY_SPARSE_RECORDS = XGBOOST >= (3, 2)  # recordio-protobuf read without mlio
