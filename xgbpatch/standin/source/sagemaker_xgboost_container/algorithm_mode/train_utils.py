"""What train.py needs to know about metrics, and a folder emptied."""

import logging
import os

from sagemaker_xgboost_container.metrics.custom_metrics import configure_feval, get_custom_metrics

HPO_SEPARATOR = ":"


def get_union_metrics(metric_a, metric_b):
    """Both lists as one, sorted, every metric once; None counts as empty."""
    return sorted(set(metric_a or []) | set(metric_b or []))


def get_eval_metrics_and_feval(tuning_objective_metric_param, eval_metric):
    """What a round reports, from `validation:<metric>` or None and the eval_metric list or None.

    Returns XGBoost's own metrics (None when nothing was asked for), the function for the container's (or None) and the
    tuned metric in a list (or None).
    """
    tuned = None
    if tuning_objective_metric_param is not None:
        tuned = [MetricNameComponents.decode(tuning_objective_metric_param).metric_name]
    metrics = get_union_metrics(tuned, eval_metric) if tuned else eval_metric
    if not metrics:
        return None, None, tuned
    custom = get_custom_metrics(metrics)
    native = [metric for metric in metrics if metric not in custom]
    return native, configure_feval(custom) if custom else None, tuned


def cleanup_dir(dir, file_prefix):  # noqa: A002 - the name is the contract
    """Removes the files of `dir` whose names do not start with `file_prefix`."""
    for name in os.listdir(dir):
        path = os.path.join(dir, name)
        if os.path.isfile(path) and not name.startswith(file_prefix):
            logging.info("Removing '%s'", path)
            os.remove(path)


class MetricNameComponents:
    """A metric as the tuning job writes it, `validation:rmse`."""

    def __init__(self, data_segment, metric_name, emission_frequency=None):
        self.data_segment = data_segment
        self.metric_name = metric_name
        self.emission_frequency = emission_frequency

    @classmethod
    def decode(cls, tuning_objective_metric):
        return cls(*tuning_objective_metric.split(HPO_SEPARATOR))
