"""Runs inside a base: answers one question (JSON in argv[1]) with one line of JSON, the last on stdout."""

import json
import sys


def model(path):
    booster = loaded(path)
    attributes = {name: getattr(booster, name, None) for name in ("best_iteration", "best_ntree_limit")}
    return {"trees": len(booster.get_dump()), "attributes": booster.attributes(), "kept": attributes}


def loaded(path):
    import pickle

    import xgboost

    with open(path, "rb") as file:
        if file.read(1) == b"\x80":
            file.seek(0)
            return pickle.load(file)
    return xgboost.Booster(model_file=path)


def hyperparameters(jobs):
    from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

    declared = hyperparameter_validation.initialize(metrics.initialize())
    return [verdict(declared.validate, job) for job in jobs]


def channels(jobs):
    from sagemaker_xgboost_container.algorithm_mode import channel_validation

    declared = channel_validation.initialize()
    return [verdict(declared.validate, job) for job in jobs]


def data(questions):
    return [verdict(read, question) for question in questions]


def read(question):
    from sagemaker_xgboost_container import data_utils

    path, content_type = question["path"], question["type"]
    if data_utils.get_size(path):
        data_utils.validate_data_file_path(path, content_type)
    matrix = data_utils.get_dmatrix(path, content_type, question.get("weights", 0), question.get("pipe", False))
    values = matrix.get_label().tolist(), matrix.get_weight().tolist()
    return {"shape": [matrix.num_row(), matrix.num_col()], "labels": values[0], "weights": values[1]}


def verdict(function, argument):
    try:
        return function(argument)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    ((name, argument),) = json.loads(sys.argv[1]).items()
    answer = globals()[name](argument)
    print()
    print(json.dumps(answer))


main()
