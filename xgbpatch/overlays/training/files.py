"""Rows of the training data, the names of their features, importance, and the files they are written to."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import logging
import os
import random
import struct
import tempfile
import time
import zipfile
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import scipy.sparse
import xgboost
from sagemaker_xgboost_container import data_utils
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from .. import silence
from ..model import folder as model_folder
from ..model.booster import XGBOOST, PredictCall

logger = logging.getLogger(__name__)
SEED = 0
_MOST_CHARACTERS = 2**20  # of a line
_COUNTS = struct.Struct("<QQ").pack
_ENTRY = np.dtype([("column", "<u4"), ("value", "<f4")])


def sample(rows: int, most: int) -> Sequence[int]:
    """At most `most` of the row numbers 0 .. rows - 1, in random order, the same at every call."""
    return random.Random(SEED).sample(range(rows), min(rows, most))  # noqa: S311 - a sample, not a secret


def read_rows(dmatrix: xgboost.DMatrix, numbers: Sequence[int], width: int) -> scipy.sparse.csr_matrix:
    """Those rows as float32 CSR (n, width): what is not stored is missing. Raises ValueError where they are wider."""
    part = dmatrix.slice(list(numbers), allow_groups=True)
    data = part.get_data() if hasattr(part, "get_data") else _from_file(part)
    if data.shape[1] > width:
        raise ValueError("{} columns, the model has {}".format(data.shape[1], width))
    return scipy.sparse.csr_matrix((data.data, data.indices, data.indptr), (data.shape[0], width))


def dense(rows: scipy.sparse.csr_matrix) -> np.ndarray:
    """float32 (n, width), what is missing NaN."""
    cells = np.full(rows.shape, np.nan, dtype=np.float32)
    cells[np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices] = rows.data
    return cells


def _from_file(dmatrix: xgboost.DMatrix) -> scipy.sparse.csr_matrix:
    """xgboost before 1.7 gives data to files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        dmatrix.save_binary(path, silent=True)
        with open(path, "rb") as file:
            return _page(file.read(), (dmatrix.num_row(), dmatrix.num_col()))


def _page(content: bytes, shape: Sequence[int]) -> scipy.sparse.csr_matrix:
    """The CSR at the end of a binary DMatrix: the row offsets, then the entries, each behind its count (uint64).

    Source: xgboost 1.2 to 1.6, SimpleDMatrix::SaveToLocalFile. Raises ValueError where the file is not of this form.
    """
    rows, columns = shape
    start = content.find(_COUNTS(rows + 1, 0))
    while start >= 0:
        if len(content) - start >= 8 * (rows + 3):
            counts = np.frombuffer(content, "<u8", rows + 3, start).astype(np.int64)
            rest = content[start + counts.nbytes :]
            if counts[-1] == counts[-2] and len(rest) == counts[-1] * _ENTRY.itemsize:
                entries = np.frombuffer(rest, _ENTRY)
                parts = (entries["value"], entries["column"].astype(np.int64), counts[1:-1])
                return scipy.sparse.csr_matrix(parts, (rows, columns))
        start = content.find(_COUNTS(rows + 1, 0), start + 1)
    raise ValueError("this xgboost writes a DMatrix in another form")


# Global SHAP importance: the mean |SHAP value| of each feature (and class) over a sample of rows, in margin space.
#
# Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees".


SECONDS = 60.0
_NUMBERS = 4000000  # contributions computed in one go


@dataclass(frozen=True)
class Importance:
    """`values` float64 (features, classes), in one column where the model has no classes; `rows` that they are of."""

    values: np.ndarray
    rows: int


def measure_importance(
    members: Sequence[PredictCall], rows: scipy.sparse.csr_matrix, seconds: float = SECONDS
) -> Importance:
    """The Importance of `rows`, or of as many of the first as `seconds` allow; of several models, their mean."""
    parts = [_of_member(member, rows, seconds / len(members)) for member in members]
    return Importance(np.mean([part.values for part in parts], axis=0), min(part.rows for part in parts))


def _of_member(member: PredictCall, rows: scipy.sparse.csr_matrix, seconds: float) -> Importance:
    """In growing parts, so that the time of the next is known before it begins."""
    total: Any = 0.0
    done, size, spent, last = 0, 1, 0.0, 0.0
    while done < rows.shape[0] and (not done or spent + 2 * last <= seconds):
        begin = time.perf_counter()
        part = rows[done : done + size]
        values = member.booster.predict(xgboost.DMatrix(part), pred_contribs=True, **member.options)
        classes = values.reshape(part.shape[0], -1, part.shape[1] + 1)[:, :, :-1]  # without the base value
        total = total + np.abs(classes).sum(axis=0, dtype=np.float64)
        done += part.shape[0]
        size = min(2 * size, max(1, _NUMBERS // classes[0].size))
        last = time.perf_counter() - begin
        spent += last
    return Importance(total.T / done, done)


# Files beside the model, each written whole or not at all: a job may be stopped at any moment.


IMPORTANCE_CSV = "importance.csv"
IMPORTANCE_JSON = "importance.json"
IMPORTANCE_PNG = "importance.png"
BARS = 20


def write_json(folder: str, name: str, document: Any) -> None:
    """Write `document` below the model's folder `folder`."""
    _write_text(folder, name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_array(folder: str, name: str, values: np.ndarray) -> None:
    """Write `values` as numpy's own file."""
    _write(folder, name, lambda file: np.save(file, values, allow_pickle=False))


def write_importance(folder: str, about: Mapping[str, Any], names: Sequence[str], values: np.ndarray) -> None:
    """CSV, JSON and, where the base has matplotlib, a bar plot of `values` (features, classes), strongest first.

    A feature's importance is the sum over the classes.
    """
    totals, classes = values.sum(axis=1), values.shape[1] if values.shape[1] > 1 else 0
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["feature", "importance"] + ["class_{}".format(number) for number in range(classes)])
    rows = []
    for i in np.argsort(-totals, kind="stable"):
        row = {"name": names[i], "importance": float(totals[i])}
        if classes:
            row["classes"] = [float(value) for value in values[i]]
        rows.append(row)
        writer.writerow([row["name"], row["importance"]] + row.get("classes", []))
    write_json(folder, IMPORTANCE_JSON, dict(about, features=rows))
    _write_text(folder, IMPORTANCE_CSV, table.getvalue())
    with contextlib.suppress(ImportError), silence():  # matplotlib speaks of its fonts
        _plot(folder, rows)


def _plot(folder: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One bar a feature, of one part a class; raises ImportError without matplotlib.

    Without pyplot, which would keep state in the base's process.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = list(reversed(rows[:BARS]))
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)))
    axes = figure.add_subplot(111)
    parts = [row.get("classes") or [row["importance"]] for row in shown]
    left = np.zeros(len(shown))
    for number, widths in enumerate(np.transpose(parts)):
        axes.barh(range(len(shown)), widths, left=left, label="class {}".format(number))
        left = left + widths
    axes.set_yticks(range(len(shown)))
    # matplotlib reads what stands between two dollar signs as a formula
    axes.set_yticklabels([row["name"][:40].replace("$", r"\$") for row in shown])
    if 1 < len(parts[0]) <= BARS:
        axes.legend()
    axes.set_xlabel("mean |SHAP value|")
    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    _write(folder, IMPORTANCE_PNG, canvas.print_png)


def _write_text(folder: str, name: str, text: str) -> None:
    _write(folder, name, lambda file: file.write(text.encode("utf-8")))


def _write(folder: str, name: str, fill: Callable[[Any], Any]) -> None:
    content = io.BytesIO()
    fill(content)
    beside = os.path.join(folder, model_folder.FOLDER)
    if os.path.isdir(beside) or not passes_over_hidden_files():
        os.makedirs(beside, exist_ok=True)
        _replace(os.path.join(beside, name), content.getvalue())
    else:
        hidden = os.path.join(folder, model_folder.FILE)
        _replace(hidden, _archive(dict(model_folder.entries(hidden), **{name: content.getvalue()})))


@functools.lru_cache(maxsize=None)
def passes_over_hidden_files() -> bool:
    """Whether this base, and any other that may serve its models, loads no file whose name begins with a dot.

    1.2-2, and images of 1.3-1 and 1.5-1 from before September 2022, load every file, as members of an ensemble. 1.2-1
    passes over hidden ones, and its models are those of 1.2-2.
    """
    paths = getattr(serve_utils, "_get_full_model_paths", None)
    if XGBOOST < (1, 3) or paths is None:
        return False
    # the base names each file that it passes over, and this one is a probe
    with silence(), tempfile.TemporaryDirectory() as probe, open(os.path.join(probe, model_folder.FILE), "wb"):
        return not list(paths(probe))


def _archive(entries: Mapping[str, bytes]) -> bytes:
    """Equal entries are equal bytes: a ZipInfo's own date is a constant."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in sorted(entries):
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o644 << 16  # what `unzip` gives it
            archive.writestr(member, entries[name], zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _replace(path: str, content: bytes) -> None:
    partial = "{}.{}.partial".format(path, os.getpid())
    try:
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


# Names of features that stand in the training data: the columns of Parquet files, the header of CSV files.


def names_of_channel(
    folder: str, configuration: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> Tuple[str, ...]:
    """The names of the feature columns in the channel `folder`, in their order; empty where its files have none.

    `configuration` is the channel's in inputdataconfig.json. The label stands first, weights (`csv_weights`) second.
    """
    if configuration.get("TrainingInputMode") == "Pipe":
        return ()
    content_type = data_utils.get_content_type(configuration.get("ContentType"))
    columns: List[str] = []
    if content_type == data_utils.PARQUET:
        columns = _of_parquet(folder)
    elif content_type == data_utils.CSV:
        columns = _of_csv(folder)[int(str(hyperparameters.get("csv_weights", "0")).strip("\"' ")) :]
    names = tuple(columns[1:])
    return names if all(names) and len(set(names)) == len(names) else ()


def _of_parquet(folder: str) -> List[str]:
    """Of the first file, as the base's reader takes them: an index that pandas has stored is no column."""
    import pyarrow.parquet

    file = next(_files(folder), None)
    return [] if file is None else list(map(str, pyarrow.parquet.read_schema(file).empty_table().to_pandas().columns))


def _of_csv(folder: str) -> List[str]:
    """Of the headers, where there are any and all are alike; the base itself reads a header as a row."""
    headers = {file: header for file, header in ((file, _header(file)) for file in _files(folder)) if header}
    if headers:
        first = next(iter(headers))
        logger.warning(
            'The first line of "%s"%s holds names and no numbers, and the base trains on it as a row of zeros: leave '
            "it out, and give the names as xgbpatch_feature_names",
            os.path.basename(first),
            " and of {} files more".format(len(headers) - 1) if len(headers) > 1 else "",
        )
    distinct = {tuple(header) for header in headers.values()}
    return list(distinct.pop()) if len(distinct) == 1 else []


def _header(file: str) -> Optional[List[str]]:
    """The cells of the first line, where none is empty or a number."""
    with open(file, encoding="utf-8-sig", errors="replace", newline="") as stream:
        line = stream.readline(_MOST_CHARACTERS)
    try:
        cells = next(csv.reader([line], delimiter=csv.Sniffer().sniff(line).delimiter))
    except (csv.Error, StopIteration):
        return None
    cells = [cell.strip() for cell in cells]
    return cells if cells and not any(map(_is_data, cells)) else None


def _is_data(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell
    return True


def _files(folder: str) -> Iterator[str]:
    """In the order of their names."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith((".", "_")):
                yield os.path.join(root, name)
