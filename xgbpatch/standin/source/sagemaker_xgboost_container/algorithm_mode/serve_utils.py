"""The steps of one inference request: parse the body, load the models, predict, select and encode the output."""

import csv
import io
import json
import os
import pickle

import numpy as np
import xgboost as xgb
from sagemaker_containers._recordio import _write_recordio
from sagemaker_containers.record_pb2 import Record
from scipy import stats
from scipy.sparse import csr_matrix

from sagemaker_xgboost_container import _behaviour, encoder
from sagemaker_xgboost_container.algorithm_mode import integration
from sagemaker_xgboost_container.constants import sm_env_constants
from sagemaker_xgboost_container.constants.sm_env_constants import SAGEMAKER_INFERENCE_ENSEMBLE
from sagemaker_xgboost_container.constants.xgb_constants import (
    BINARY_HINGE,
    BINARY_LOG,
    BINARY_LOGRAW,
    MULTI_SOFTMAX,
    MULTI_SOFTPROB,
    REG_ABSOLUTEERR,
    REG_GAMMA,
    REG_LOG,
    REG_SQUAREDERR,
    REG_TWEEDIE,
)
from sagemaker_xgboost_container.data_utils import CSV, LIBSVM, RECORDIO_PROTOBUF, get_content_type
from sagemaker_xgboost_container.encoder import json_to_jsonlines

logging = integration.setup_main_logger(__name__)

PKL_FORMAT = "pkl_format"
XGB_FORMAT = "xgb_format"

SAGEMAKER_BATCH = os.getenv(sm_env_constants.SAGEMAKER_BATCH)
SAGEMAKER_INFERENCE_OUTPUT = os.getenv(sm_env_constants.SAGEMAKER_INFERENCE_OUTPUT)

PREDICTED_LABEL = "predicted_label"
LABELS = "labels"
PROBABILITY = "probability"
PROBABILITIES = "probabilities"
RAW_SCORE = "raw_score"
RAW_SCORES = "raw_scores"
PREDICTED_SCORE = "predicted_score"
ALL_VALID_SELECT_KEYS = [
    PREDICTED_LABEL, LABELS, PROBABILITY, PROBABILITIES, RAW_SCORE, RAW_SCORES, PREDICTED_SCORE,
]  # fmt: skip

TOP_LEVEL_OUT_KEY = "predictions"
SCORE_OUT_KEY = "score"

_WITH_PROBABILITIES = [PREDICTED_LABEL, LABELS, PROBABILITY, PROBABILITIES, RAW_SCORE, RAW_SCORES]
_WITHOUT_PROBABILITIES = [PREDICTED_LABEL, LABELS, RAW_SCORE, RAW_SCORES]
VALID_OBJECTIVES = {
    REG_SQUAREDERR: [PREDICTED_SCORE],
    REG_LOG: [PREDICTED_SCORE],
    REG_GAMMA: [PREDICTED_SCORE],
    REG_TWEEDIE: [PREDICTED_SCORE],
    BINARY_LOG: _WITH_PROBABILITIES,
    BINARY_LOGRAW: _WITHOUT_PROBABILITIES,
    BINARY_HINGE: _WITHOUT_PROBABILITIES,
    MULTI_SOFTMAX: _WITHOUT_PROBABILITIES,
    MULTI_SOFTPROB: _WITH_PROBABILITIES,
}
if _behaviour.SELECTS_ABSOLUTE_ERROR:
    VALID_OBJECTIVES[REG_ABSOLUTEERR] = [PREDICTED_SCORE]


# --- parse ---------------------------------------------------------------------------------------------------------


def _get_sparse_matrix_from_libsvm(payload):
    """LibSVM text as a csr_matrix as wide as its largest index.

    Tokens are separated by single spaces, those without a colon (labels) are passed over; of a token with several
    colons the first two parts count.
    """
    cells = [
        (row, *token.split(":")[:2])
        for row, line in enumerate(payload.split("\n"))
        for token in line.split(" ")
        if ":" in token
    ]
    columns = encoder.shifted([int(index) for _, index, _ in cells])
    values = np.array([value for _, _, value in cells]).astype(float)
    return csr_matrix((values, ([row for row, _, _ in cells], columns)))


def _parse_csv(payload):
    try:
        return encoder.csv_to_dmatrix(payload.strip().decode("utf-8"), dtype=float)
    except Exception as e:
        raise RuntimeError(_unreadable("csv", ":\n {}\n {}".format(type(e), e))) from e


def _parse_libsvm(payload):
    try:
        return xgb.DMatrix(_get_sparse_matrix_from_libsvm(payload.strip().decode("utf-8")))
    except Exception as e:
        raise RuntimeError(_unreadable("libsvm", ":\n {}\n {}".format(type(e), e))) from e


def _parse_recordio_protobuf(payload):
    try:
        return encoder.recordio_protobuf_to_dmatrix(payload)
    except Exception as e:
        raise RuntimeError(_unreadable("recordio-protobuf", ": {} {}".format(type(e), e))) from e


def _unreadable(name, reason):
    return "Loading {0} data failed with Exception, please ensure data is in {0} format{1}".format(name, reason)


_PARSERS = {CSV: _parse_csv, LIBSVM: _parse_libsvm, RECORDIO_PROTOBUF: _parse_recordio_protobuf}


def parse_content_data(input_data, input_content_type):
    """The bytes `input_data` as (DMatrix, "csv" | "libsvm" | "recordio-protobuf").

    Raises UserError for a content type nobody knows, RuntimeError for data that does not read as its type.
    """
    content_type = get_content_type(input_content_type)
    if content_type not in _PARSERS:
        raise RuntimeError("Content-type {} is not supported.".format(input_content_type))
    return _PARSERS[content_type](input_data), content_type


# --- load ----------------------------------------------------------------------------------------------------------


def is_ensemble_enabled():
    """Whether several model files are served together: exactly "true", the default."""
    return os.environ.get(SAGEMAKER_INFERENCE_ENSEMBLE, "true") == "true"


def _get_full_model_paths(model_dir):
    """Paths of the files at the top of `model_dir`, in the order in which the file system lists them."""
    for name in os.listdir(model_dir):
        path = os.path.join(model_dir, name)
        if not os.path.isfile(path):
            continue
        if name.startswith(".") and _behaviour.SKIPS_DOTFILES:
            logging.warning("Hidden file '%s' is not loaded as a model.", path)
            continue
        yield path


def _unpickled(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def _native(path):
    booster = xgb.Booster()
    booster.load_model(path)
    return booster


def _load(path):
    try:
        booster, model_format = _unpickled(path), PKL_FORMAT
    except Exception as not_pickled:
        try:
            booster, model_format = _native(path), XGB_FORMAT
        except Exception as not_native:
            raise RuntimeError(
                "{} holds no model:\nas a pickle: {}\nas a model of XGBoost: {}".format(path, not_pickled, not_native)
            ) from not_native
    booster.set_param("nthread", 1)
    return booster, model_format


def get_loaded_booster(model_dir, ensemble=False):
    """(booster, format) of the only model in `model_dir`, or of the first one listed unless `ensemble`.

    With `ensemble` and several files: (boosters, formats), two lists. Raises RuntimeError when a file loads neither as
    a pickle nor as XGBoost's own format, IndexError when there is no file.
    """
    paths = list(_get_full_model_paths(model_dir))
    loaded = [_load(path) for path in (paths if ensemble else paths[:1])]
    if len(loaded) < 2:
        return loaded[0]
    return [booster for booster, _ in loaded], [model_format for _, model_format in loaded]


# --- predict -------------------------------------------------------------------------------------------------------


def _model_width(booster):
    if _behaviour.COUNTS_FEATURES_BY_NAME:
        return len(booster.feature_names)
    return booster.num_features()


def _check_width(booster, dtest, content_type):
    """Pickled models only: a native model leaves the check to XGBoost."""
    names = dtest.feature_names
    columns, width = dtest.num_col() if names is None else len(names), _model_width(booster)
    if content_type == LIBSVM:
        if columns > width + 1:
            raise ValueError(
                "Feature size of {} inference data {} is larger than feature size of trained model {}.".format(
                    content_type, columns, width
                )
            )
    elif columns not in (width, width - 1):
        raise ValueError(
            "Feature size of {} inference data {} is not consistent with feature size of trained model {}.".format(
                content_type, columns, width
            )
        )


def _tree_cut(booster):
    """How many trees count: 1.x models stopped early carry it, 3.x takes the same number for iterations."""
    limit = getattr(booster, "best_ntree_limit", 0)
    return {"ntree_limit": limit} if _behaviour.TAKES_NTREE_LIMIT else {"iteration_range": (0, limit)}


def _predict_one(booster, dtest):
    return booster.predict(dtest, validate_features=False, **_tree_cut(booster))


def predict(model, model_format, dtest, input_content_type, objective=None):
    """Raw predictions of a booster, or the combination of those of a list of boosters, whose widths go unchecked.

    Classes are combined by majority, everything else by mean. From scipy 1.11 on the majority loses its axis (3.0-5 and
    3.2-0 answer such ensembles with 500), as in the image.
    """
    if model_format == PKL_FORMAT:
        _check_width(model, dtest, input_content_type)
    if not isinstance(model, list):
        return _predict_one(model, dtest)
    scores = [_predict_one(booster, dtest) for booster in model]
    if objective in (MULTI_SOFTMAX, BINARY_HINGE):
        return stats.mode(scores).mode[0]
    return np.mean(scores, axis=0)


# --- select --------------------------------------------------------------------------------------------------------


def is_selectable_inference_output():
    """Whether the user chose what a prediction holds; read at every call, unlike the chosen keys."""
    return sm_env_constants.SAGEMAKER_INFERENCE_OUTPUT in os.environ


def get_selected_output_keys():
    """The keys chosen when this module was imported, in order; raises RuntimeError when none were."""
    if not is_selectable_inference_output():
        raise RuntimeError("no output was selected: set SAGEMAKER_INFERENCE_OUTPUT to a list of keys")
    return SAGEMAKER_INFERENCE_OUTPUT.replace(" ", "").lower().split(",")


def _get_labels(objective, num_class=""):
    if "binary:" in objective:
        return [0, 1]
    if "multi:" in objective and num_class:
        return list(range(int(num_class)))
    return np.nan


def _get_predicted_label(objective, raw_prediction):
    if objective in (BINARY_HINGE, MULTI_SOFTMAX):
        return raw_prediction.item()
    if objective == BINARY_LOG:
        return int(raw_prediction > 0.5)
    if objective == BINARY_LOGRAW:
        return int(raw_prediction > 0)
    if objective == MULTI_SOFTPROB:
        return int(np.argmax(raw_prediction))
    return np.nan


def _get_probability(objective, raw_prediction):
    if objective == BINARY_LOG:
        return raw_prediction.item()
    if objective == MULTI_SOFTPROB:
        return max(raw_prediction).item()
    return np.nan


def _get_probabilities(objective, raw_prediction):
    if objective == BINARY_LOG:
        return _complemented(raw_prediction)
    if objective == MULTI_SOFTPROB:
        return raw_prediction.tolist()
    return np.nan


def _get_raw_score(objective, raw_prediction):
    if objective == MULTI_SOFTPROB:
        return max(raw_prediction).item()
    if objective in VALID_OBJECTIVES and not objective.startswith("reg:"):
        return raw_prediction.item()
    return np.nan


def _get_raw_scores(objective, raw_prediction):
    if objective == MULTI_SOFTPROB:
        return raw_prediction.tolist()
    if objective in VALID_OBJECTIVES and not objective.startswith("reg:"):
        return _complemented(raw_prediction)
    return np.nan


def _complemented(raw_prediction):
    """`[1 - x, x]`, for what is no probability as well: class 2 of a softmax gives [-1.0, 2.0]."""
    score = raw_prediction.item()
    return [1 - score, score]


def _select(key, raw_prediction, objective, num_class):
    if key == PREDICTED_SCORE:
        return raw_prediction.item()
    if key == LABELS:
        return _get_labels(objective, num_class=num_class)
    getters = {
        PREDICTED_LABEL: _get_predicted_label,
        PROBABILITY: _get_probability,
        PROBABILITIES: _get_probabilities,
        RAW_SCORE: _get_raw_score,
        RAW_SCORES: _get_raw_scores,
    }
    return getters[key](objective, raw_prediction)


def get_selected_predictions(raw_predictions, selected_keys, objective, num_class=""):
    """One dict a record with the selected keys; a key that is unknown or does not fit the objective gives NaN.

    Raises ValueError for an objective that has no selectable output.
    """
    if objective not in VALID_OBJECTIVES:
        raise ValueError("Objective `{}` unsupported for selectable inference predictions.".format(objective))
    fit = [key for key in selected_keys if key in VALID_OBJECTIVES[objective]]
    unfit = [key for key in selected_keys if key not in fit]
    if unfit:
        logging.warning("Selected keys %s do not apply to objective %s: NaN is returned for them.", unfit, objective)
    return [
        {
            **{key: _select(key, raw, objective, num_class) for key in fit},
            **dict.fromkeys(unfit, np.nan),
        }
        for raw in raw_predictions
    ]


# --- encode --------------------------------------------------------------------------------------------------------


def _encode_selected_predictions_csv(predictions, ordered_keys_list):
    """One row a record in the order of the keys, no newline at the end unless batch transform asks for one."""
    stream = io.StringIO()
    rows = ([prediction[key] for key in ordered_keys_list] for prediction in predictions)
    csv.writer(stream, lineterminator="\n").writerows(rows)
    text = stream.getvalue()
    return text if SAGEMAKER_BATCH else text.rstrip("\n")


def _write_record(record, key, value):
    values = value if isinstance(value, list) else [value]
    record.label[key].float32_tensor.values.extend(values)


def _encode_selected_predictions_recordio_protobuf(predictions):
    """One frame a record. As in the image, frame n holds records 1 to n, which decode to record n."""
    stream, message = io.BytesIO(), b""
    for prediction in predictions:
        record = Record()
        for key, value in prediction.items():
            _write_record(record, key, value)
        message += record.SerializeToString()
        _write_recordio(stream, message)
    return stream.getvalue()


def encode_selected_predictions(predictions, selected_content_keys, accept):
    """Selected predictions as `accept` wants them; raises RuntimeError for a type that cannot hold them."""
    if accept == "application/json":
        return json.dumps({TOP_LEVEL_OUT_KEY: predictions})
    if accept == "application/jsonlines":
        return json_to_jsonlines(json.dumps({TOP_LEVEL_OUT_KEY: predictions}))
    if accept == "application/x-recordio-protobuf":
        return _encode_selected_predictions_recordio_protobuf(predictions)
    if accept == "text/csv":
        return _encode_selected_predictions_csv(predictions, selected_content_keys)
    raise RuntimeError("selected output has no form for '{}'".format(accept))


def encode_predictions_as_json(predictions):
    """`{"predictions": [{"score": x}, ...]}`."""
    return json.dumps({TOP_LEVEL_OUT_KEY: [{SCORE_OUT_KEY: prediction} for prediction in predictions]})
