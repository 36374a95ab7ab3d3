"""Script mode: train and serve abalone with functions of your own; SHAP values stand behind each prediction.

SageMaker runs this file to train, and imports it to serve.
"""

import argparse
import os

import numpy as np
import xgboost
from xgbpatch_overlays import script_mode


def train(channel, model_dir, hyperparameters, rounds):
    """Train on train.csv of a channel, label first, and leave the model where SageMaker packs it."""
    rows = np.loadtxt(os.path.join(channel, "train.csv"), delimiter=",")
    matrix = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0])
    xgboost.train(hyperparameters, matrix, rounds).save_model(os.path.join(model_dir, "xgboost-model"))


def model_fn(model_dir):
    booster = xgboost.Booster(model_file=os.path.join(model_dir, "xgboost-model"))
    return script_mode.accelerate(booster, model_dir)


def predict_fn(data, model):
    return model.predict(data, validate_features=False), script_mode.explain(model, data)


def output_fn(prediction, accept):
    scores, explanation = prediction
    if accept == "application/json":
        return script_mode.append_json(scores, explanation)
    return script_mode.append_csv(scores, explanation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_depth", type=int, default=5)
    parser.add_argument("--eta", type=float, default=0.2)
    parser.add_argument("--num_round", type=int, default=50)
    given, _ = parser.parse_known_args()
    chosen = {"objective": "reg:squarederror", "max_depth": given.max_depth, "eta": given.eta}
    train(os.environ["SM_CHANNEL_TRAIN"], os.environ["SM_MODEL_DIR"], chosen, given.num_round)
