"""Metrics that a hyperparameter tuning job reads from the log."""

import logging


class Metric:
    """A metric's name, the `regex` that finds it in the log, and the way it should go."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"

    def __init__(self, name, regex, format_string=None, tunable=True, direction=None):
        if tunable and direction is None:
            raise ValueError("metric '{}' can be tuned, so it needs a direction".format(name))
        self.name = name
        self.regex = regex
        self.format_string = format_string
        self.tunable = tunable
        self.direction = direction

    def log(self, value):
        logging.info(self.format_string.format(value))

    def format_tunable(self):
        return {"MetricName": self.name, "Type": self.direction}

    def format_definition(self):
        return {"Name": self.name, "Regex": self.regex}


class Metrics:
    """Metrics by name."""

    def __init__(self, *metrics):
        self.metrics = {metric.name: metric for metric in metrics}

    def __getitem__(self, name):
        return self.metrics[name]

    @property
    def names(self):
        return list(self.metrics)

    def format_tunable(self):
        return [metric.format_tunable() for metric in self.metrics.values() if metric.tunable]

    def format_definitions(self):
        return [metric.format_definition() for metric in self.metrics.values()]
