"""Input channels as DMatrix: what a content type means, what a channel's folder must hold, how its files are read."""

import csv
import logging
import os

import xgboost as xgb
from sagemaker_algorithm_toolkit import exceptions as exc
from sagemaker_containers import _content_types

from sagemaker_xgboost_container import _input_folder
from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container.constants import xgb_content_types
from sagemaker_xgboost_container.recordio_protobuf import read_recordio_protobuf

BATCH_SIZE = 4000
MAX_FOLDER_DEPTH = _input_folder.MAX_FOLDER_DEPTH

CSV = "csv"
LIBSVM = "libsvm"
PARQUET = "parquet"
RECORDIO_PROTOBUF = "recordio-protobuf"

_FORMATS = {
    CSV: CSV,
    _content_types.CSV: CSV,
    LIBSVM: LIBSVM,
    xgb_content_types.LIBSVM: LIBSVM,
    xgb_content_types.X_LIBSVM: LIBSVM,
    PARQUET: PARQUET,
    xgb_content_types.X_PARQUET: PARQUET,
    RECORDIO_PROTOBUF: RECORDIO_PROTOBUF,
    xgb_content_types.X_RECORDIO_PROTOBUF: RECORDIO_PROTOBUF,
}
VALID_CONTENT_TYPES = list(_FORMATS)
VALID_PIPED_CONTENT_TYPES = [name for name, format_ in _FORMATS.items() if format_ != LIBSVM]

INVALID_CONTENT_TYPE_ERROR = (
    "{} is not an accepted ContentType: csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, text/x-libsvm, "
    "application/x-parquet, application/x-recordio-protobuf."
)
_LABEL_SIZE_ERROR = "{} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"


def get_content_type(content_type_cfg_val):
    """The format (csv, libsvm, parquet or recordio-protobuf) of a content type, None meaning libsvm; UserError else."""
    if content_type_cfg_val is None:
        return LIBSVM
    media_type, _, rest = content_type_cfg_val.lower().partition(";")
    format_ = _FORMATS.get(media_type.strip())
    if format_ is None:
        raise exc.UserError(INVALID_CONTENT_TYPE_ERROR.format(content_type_cfg_val))
    if format_ == CSV and any(size != "1" for size in _label_sizes(rest)):
        raise exc.UserError(_LABEL_SIZE_ERROR.format(content_type_cfg_val))
    return format_


def _label_sizes(parameters):
    pairs = [parameter.partition("=") for parameter in parameters.split(";")]
    return [value.strip() for name, _, value in pairs if name.strip() == "label_size"]


def _is_data_file(file_path, file_name):
    """Whether `file_name` in the folder `file_path` is read; raises UserError for a hidden file."""
    if not os.path.isfile(os.path.join(file_path, file_name)):
        return False
    if file_name.startswith("."):
        raise exc.UserError("'{}' is hidden: take it out of the channel".format(os.path.join(file_path, file_name)))
    return not file_name.startswith("_")


def validate_data_file_path(data_path, content_type):
    """Looks at the first line of every file under `data_path`, a folder or a file; raises UserError with the fault."""
    format_ = get_content_type(content_type)
    if not os.path.exists(data_path):
        raise exc.UserError("'{}' is not there".format(data_path))
    check = {CSV: _validate_csv_format, LIBSVM: _validate_libsvm_format}.get(format_, lambda path: None)
    for path in _data_files(data_path):
        check(path)


def _data_files(data_path):
    if os.path.isfile(data_path):
        return [data_path]
    walk = [(folder, name) for folder, _, names in os.walk(data_path) for name in names]
    return [os.path.join(folder, name) for folder, name in walk if _is_data_file(folder, name)]


def _first_line(file_path):
    with open(file_path, errors="ignore") as file:
        return file.readline()


def _get_csv_delimiter(sample_csv_line):
    try:
        return csv.Sniffer().sniff(sample_csv_line).delimiter
    except csv.Error as error:
        message = "'{}' shows no delimiter of CSV".format(sample_csv_line[:50].rstrip())
        raise exc.UserError(message, caused_by=error) from error


def _validate_csv_format(file_path):
    delimiter = _get_csv_delimiter(_first_line(file_path))
    logging.info("Delimiter of '%s': '%s'", file_path, delimiter)


def _validate_libsvm_format(file_path):
    line = _first_line(file_path)
    if not _is_libsvm(line.split()):
        message = "the first line of '{}', '{}', is not LibSVM: <label>[:<weight>] [qid:<id>] <index>:<value> ..."
        raise exc.UserError(message.format(os.path.basename(file_path), line[:50].rstrip()))


def _is_libsvm(tokens):
    if not tokens or not all(_is_number(part) for part in tokens[0].split(":")) or tokens[0].count(":") > 1:
        return False
    return all(_is_feature(token) for token in tokens[1:])


def _is_feature(token):
    index, colon, value = token.partition(":")
    return bool(colon) and (index == "qid" or _is_number(index)) and _is_number(value)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_pipe(is_pipe):
    if not is_pipe:
        return
    if behaviour.REFUSES_PIPE:
        raise exc.UserError("Pipe mode is not supported: use File mode")
    raise exc.UserError(
        "this stand-in reads no Pipe input, which the official image of this version does: use File mode"
    )


def get_csv_dmatrix(path, csv_weights, is_pipe=False):
    """CSV without header, the label first, with `csv_weights` 1 the weight second. `path` is a folder or a file."""
    _refuse_pipe(is_pipe)
    delimiter = _get_csv_delimiter(_first_line(_data_files(path)[0]))
    uri = "{}?format=csv&label_column=0&delimiter={}".format(path, delimiter)
    with _user_error(CSV):
        return xgb.DMatrix(uri + ("&weight_column=1" if csv_weights == 1 else ""))


def get_libsvm_dmatrix(files_path, is_pipe=False):
    """LibSVM with indices as they are, counted from 0; xgboost reads it in C++."""
    if is_pipe:
        raise exc.UserError("Pipe mode does not take LibSVM")
    with _user_error(LIBSVM):
        return xgb.DMatrix(files_path + ("?format=libsvm" if behaviour.NAMES_FORMAT_IN_URI else ""))


def get_parquet_dmatrix(path, is_pipe=False):
    """Parquet, the label in the first column; raises UserError where pyarrow is not installed."""
    _refuse_pipe(is_pipe)
    with _user_error(PARQUET):
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path).to_pandas().to_numpy()
        return xgb.DMatrix(table[:, 1:], label=table[:, 0])


def get_recordio_protobuf_dmatrix(path, is_pipe=False):
    """Recordio-protobuf: features and label under the key "values"; the files read one after the other."""
    _refuse_pipe(is_pipe)
    with _user_error(RECORDIO_PROTOBUF):
        features, labels = read_recordio_protobuf(b"".join(_content(file) for file in _data_files(path)))
        return xgb.DMatrix(features, label=labels)


def _content(path):
    with open(path, "rb") as file:
        return file.read()


class _user_error:  # noqa: N801 - reads as a statement
    """Context: what goes wrong inside is the fault of the data."""

    def __init__(self, format_):
        self.format = format_

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception):
            raise exc.UserError("reading {} data failed:\n{}".format(self.format, error)) from error


def get_dmatrix(data_path, content_type, csv_weights=0, is_pipe=False):
    """A DMatrix with labels of the channel, or the list of channels, `data_path`; None where a channel is not there."""
    paths = data_path if isinstance(data_path, list) else [data_path]
    if not all(os.path.exists(path) or (is_pipe and os.path.exists(path + "_0")) for path in paths):
        return None
    files_path = data_path if is_pipe else _input_folder.gather(paths)
    dmatrix = _read(files_path, get_content_type(content_type), csv_weights, is_pipe)
    if dmatrix.get_label().size == 0:
        raise exc.UserError(
            "'{}' has no label in the first column; on several hosts, fewer hosts help small data".format(data_path)
        )
    return dmatrix


def _read(files_path, format_, csv_weights, is_pipe):
    if format_ == CSV:
        return get_csv_dmatrix(files_path, csv_weights, is_pipe)
    readers = {LIBSVM: get_libsvm_dmatrix, PARQUET: get_parquet_dmatrix}
    return readers.get(format_, get_recordio_protobuf_dmatrix)(files_path, is_pipe)


def get_size(data_path, is_pipe=False):
    """Bytes in the channel; 1 for a pipe that is there; 0 where nothing is. Raises UserError for a hidden file."""
    if is_pipe:
        return int(os.path.exists("{}_0".format(data_path)))
    if not os.path.exists(data_path):
        return 0
    return sum(os.path.getsize(path) for path in _data_files(data_path))


def check_data_redundancy(train_path, validate_path):
    """Warns where both channels are one folder, or hold a file of the same name and size."""
    if not os.path.exists(train_path) or not os.path.exists(validate_path):
        raise exc.UserError("one of '{}' and '{}' is not there".format(train_path, validate_path))
    if train_path == validate_path:
        logging.warning("train and validation are both '%s': the validation metrics tell nothing", train_path)
        return
    for name in set(os.listdir(train_path)) & set(os.listdir(validate_path)):
        pair = [os.path.join(path, name) for path in (train_path, validate_path)]
        if all(os.path.isfile(path) for path in pair) and len({os.path.getsize(path) for path in pair}) == 1:
            logging.warning("'%s' and '%s' look like the same data", *pair)
