"""The inference script that docs/features.md shows: explained CSV, predicted by oneDAL where it is proved."""

import os

import xgboost
from xgbpatch_overlays import script_mode


def model_fn(model_dir):
    booster = xgboost.Booster(model_file=os.path.join(model_dir, "xgboost-model"))
    return script_mode.accelerate(booster, model_dir)


def predict_fn(data, model):
    return model.predict(data, validate_features=False), script_mode.explain(model, data)


def output_fn(prediction, accept):
    scores, explanation = prediction
    return script_mode.append_csv(scores, explanation, top_k=3)
