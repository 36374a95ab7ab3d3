"""The metrics that a tuning job may optimise, `validation:<metric>`, and where CloudWatch shows them."""

from sagemaker_algorithm_toolkit import metrics as m

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container.constants.xgb_constants import XGB_MAXIMIZE_METRICS, XGB_MINIMIZE_METRICS

_REGEX = r".*\[[0-9]+\].*#011validation-{}:(\S+)"  # CloudWatch writes a tab as #011


def initialize():
    ways = [(XGB_MAXIMIZE_METRICS, m.Metric.MAXIMIZE), (XGB_MINIMIZE_METRICS, m.Metric.MINIMIZE)]
    known = [(name, way) for names, way in ways for name in names if name not in behaviour.METRICS_NOT_YET]
    return m.Metrics(*(_metric(name, way) for name, way in known))


def _metric(name, direction):
    return m.Metric("validation:" + name, _REGEX.format(name), direction=direction)
