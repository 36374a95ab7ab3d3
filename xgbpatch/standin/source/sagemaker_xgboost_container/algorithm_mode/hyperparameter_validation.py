"""The hyperparameters of algorithm mode, with the rules that hold between them."""

from sagemaker_algorithm_toolkit import exceptions as exc
from sagemaker_algorithm_toolkit import hyperparameter_validation as hpv

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container.algorithm_mode import _hyperparameter_table as table
from sagemaker_xgboost_container.constants.xgb_constants import XGB_MAXIMIZE_METRICS, XGB_MINIMIZE_METRICS

_METRICS = [name for name in XGB_MAXIMIZE_METRICS + XGB_MINIMIZE_METRICS if name not in behaviour.METRICS_NOT_YET]
_METRICS_WITH_THRESHOLD = ["error", "ndcg", "map"]
_RANKED_METRICS = ["auc"]
_RANKED_OBJECTIVES = ("binary:", "rank:")
_LINEAR_UPDATERS = ["shotgun", "coord_descent"]
_REVISING_UPDATERS = ["refresh", "prune"]
_GROWERS = ["grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_skmaker"]
_MONOTONE_METHODS = ["exact", "hist"]
_INTERACTION_METHODS = ["exact", "hist", "approx"]


@hpv.range_validator(_METRICS)
def _metric_range(metrics, value):
    name, at, threshold = value.partition("@")
    if not at:
        return name in metrics
    if name not in _METRICS_WITH_THRESHOLD:
        raise exc.UserError("Metric '{}' takes no threshold, only {} do".format(name, _METRICS_WITH_THRESHOLD))
    try:
        float(threshold)
    except ValueError as error:
        raise exc.UserError("The threshold of '{}' is not a number".format(value)) from error
    return True


@hpv.dependencies_validator(["objective"])
def _check_metrics(metrics, values):
    objective = values["objective"]  # without one this ends in KeyError, as in the official image
    if set(metrics) & set(_RANKED_METRICS) and not objective.startswith(_RANKED_OBJECTIVES):
        raise exc.UserError("Metric 'auc' does not go with the objective '{}'".format(objective))
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise exc.UserError("Metric 'aft-nloglik' goes with the objective 'survival:aft' only")


@hpv.dependencies_validator(["num_class"])
def _check_objective(objective, values):
    if objective.startswith("multi:") and "num_class" not in values:
        raise exc.UserError("Objective '{}' needs the hyperparameter 'num_class'".format(objective))


@hpv.dependencies_validator(["booster", "process_type"])
def _check_updaters(updaters, values):
    if values.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in _LINEAR_UPDATERS:
            raise exc.UserError("Booster 'gblinear' takes one updater of {}".format(_LINEAR_UPDATERS))
        return
    if values.get("process_type") == "update" and not set(updaters) <= set(_REVISING_UPDATERS):
        raise exc.UserError("Process type 'update' takes the updaters {} only".format(_REVISING_UPDATERS))
    if len([name for name in updaters if name in _GROWERS]) > 1:
        raise exc.UserError("One updater that grows trees at the most: {}".format(_GROWERS))


@hpv.dependencies_validator(["tree_method"])
def _check_monotone(constraints, values):
    if constraints and values.get("tree_method") not in _MONOTONE_METHODS:
        raise exc.UserError("monotone_constraints needs a tree_method of {}".format(_MONOTONE_METHODS))


@hpv.dependencies_validator(["tree_method"])
def _check_interaction(constraints, values):
    if constraints and values.get("tree_method") not in _INTERACTION_METHODS:
        raise exc.UserError("interaction_constraints needs a tree_method of {}".format(_INTERACTION_METHODS))


_RULES = {"monotone_constraints": _check_monotone, "interaction_constraints": _check_interaction}


def initialize(metrics):
    """All hyperparameters; `metrics` are those that a tuning job may name, `Metrics` or anything with their `names`."""
    version = behaviour.XGBOOST
    plain = [
        row.kind(row.name, row.range, dependencies=_RULES.get(row.name), tunable=row.tunable)
        for row in table.rows(version)
    ]
    hyperparameters = hpv.Hyperparameters(
        hpv.IntegerHyperparameter("num_round", hpv.Interval(min_closed=1), required=True, tunable=True),
        *plain,
        hpv.CategoricalHyperparameter("objective", table.objectives(version), dependencies=_check_objective),
        hpv.CommaSeparatedListHyperparameter("eval_metric", _metric_range, dependencies=_check_metrics),
        hpv.CategoricalHyperparameter("_tuning_objective_metric", metrics.names),
        hpv.CommaSeparatedListHyperparameter("updater", table.updaters(version), dependencies=_check_updaters),
    )
    for name, alias in table.ALIASES:
        hyperparameters.declare_alias(name, alias)
    return hyperparameters
