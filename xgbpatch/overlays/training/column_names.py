"""Names of features that stand in the training data: the columns of Parquet files, the header of CSV files."""

from __future__ import annotations

import csv
import logging
import os
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from sagemaker_xgboost_container import data_utils

logger = logging.getLogger(__name__)
_MOST_CHARACTERS = 2**20  # of a line


def of_channel(folder: str, configuration: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> Tuple[str, ...]:
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
