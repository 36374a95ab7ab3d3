"""What the files at the top of a model folder are, told by their names and first bytes; nothing is loaded.

A file counts as no model only where that is certain: a damaged model stays with the base, whose error says so.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, List, Tuple

from . import folder as model_folder

BINARY, JSON, UBJSON, PICKLE = "binary", "JSON", "UBJSON", "pickle"
PICKLE_START = re.compile(rb"\x80[\x02-\x05]|[c(]\w+\.?\w*\n")  # how protocols 2 to 5 begin, and what protocol 0 does

_PART = 65536  # bytes at either end that are looked at
_MOST_JSON = 2**24  # bytes of a document that is read whole, to see that it is no model
_MOST_NAMES, _MOST_ENTRIES, _DEEPEST, _LONGEST = 10, 1000, 3, 300
_LENGTH = rb"(?:[iU]|I.|l...|L.{7})"  # of a key of UBJSON, but for its last byte
_FORMS = (
    (BINARY, re.compile(rb"binf|bs64\t")),
    (JSON, re.compile(rb'\s*\{\s*(?:"version"\s*:\s*\[[\d\s,]*\]\s*,\s*)?"learner"\s*:\s*\{(?!\s*"generic_param")')),
    (UBJSON, re.compile(rb"\{%b\x07learner\{(?!%b\x0dgeneric_param)" % (_LENGTH, _LENGTH), re.DOTALL)),
)
_OF_JSON_MODEL = re.compile(rb'"(?:learner|gradient_booster|learner_model_param|split_conditions|base_weights)"\s*:')
_OF_XGBOOST = re.compile(  # a pickle whose object is of a class of xgboost; what holds such an object is no model
    rb"(?:\x80[\x02-\x05](?:\x95.{8})?(?:c|\x8c.)|ccopy_?reg\n_reconstructor\n(?:p0\n|q\x00)?\(c)xgboost\.(\w+)",
    re.DOTALL,
)
_DUMP = re.compile(rb'booster\[\d+\]|\s*\[\s*\{\s*"nodeid"')

# Names that say "model": what they hold has to be one, or the base fails, but for a whole document in a file "….json".
_SAYS_MODEL = re.compile(
    r"(?:(?:.*[-_. ])?(?:xgb(?:oost)?)?(?:model|booster)(?:[-_.]*v?\d+)*|xgboost-model[^.]*)"
    r"(?:\.(?:json|bin|deprecated|pkl|pickle))?|.*\.(?:ubj|model|bst|xgb)"
)
_NO_MODELS = re.compile(  # suffixes
    r"txt|md|rst|py|r|sh|ya?ml|toml|cfg|ini|conf|env|properties|[ct]sv|libsvm|svm|html|xml|log|lock|sha256|md5|ipynb|jsonl|"
    r"sql|proto|tf|css|js|pyc|so|onnx|pb|h5|np[yz]|parquet|whl|jar"
)
_OTHERS = re.compile(  # archives, pictures, tables, arrays, programs
    rb"PK[\x03\x05]|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|\x89PNG|\xff\xd8\xff|GIF8|%PDF|\x7fELF|\x93NUMPY|PAR1|ARROW1|SQLite|"
    rb"\x89HDF|\x00\x05\x16\x07|\x00\x00\x00\x01Bud1|x[\x01\x5e\x9c\xda]|.{257}ustar",
    re.DOTALL,
)
_ARCHIVES = ((b"\x1f\x8b", "gzip"), (b"PK", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))


class ModelRefused(RuntimeError):
    """A model that is not loaded, or could not be; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Contents:
    """The names at the top of a model folder: what a server may load, and what is no model; both as they are listed."""

    models: Tuple[str, ...] = ()
    others: Tuple[str, ...] = ()


def contents(folder: str) -> Contents:
    """What the files of `folder` are; raises OSError where it cannot be listed."""
    names = [name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name))]
    kinds = {name: _kind(os.path.join(folder, name)) for name in names}
    alike = {_shape(name) for name, kind in kinds.items() if kind.form and not kind.other}
    alone = not any(kind.form and not kind.other for kind in kinds.values())
    others = [
        name
        for name, kind in kinds.items()
        if kind.other and (kind.certain or not _claims(name, alike)) and not (kind.form and alone)
    ]
    return Contents(tuple(name for name in names if name not in others), tuple(others))


@dataclass(frozen=True)
class _Kind:
    """`form` of a model, `other` for what is none, `certain` where that is so whatever its name; else nobody knows.

    Of an estimator of xgboost.sklearn both: it is a model where there is no other, so that the error is about it.
    """

    form: str = ""
    other: bool = False
    certain: bool = False


def _kind(path: str) -> _Kind:
    name = os.path.basename(path)
    if name.startswith("."):
        return _Kind(other=True, certain=True)
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    try:
        head, tail = ends(path)
        format_name = form(head)
        if format_name == PICKLE:
            owner = _OF_XGBOOST.match(head)
            return _Kind(PICKLE if owner else "", other=not owner or owner.group(1) == b"sklearn")
        if format_name or not (head.lstrip()[:1] in (b"{", b"[") and _is_text(head)):
            return _Kind(format_name) if format_name else _Kind(other=_is_other(head, tail, suffix))
        return _of_document(path, head, tail, suffix)
    except OSError:
        return _Kind()


def _of_document(path: str, head: bytes, tail: bytes, suffix: str) -> _Kind:
    """Of text that begins as JSON does."""
    if not _NO_MODELS.fullmatch(suffix) and os.path.getsize(path) <= _MOST_JSON:
        try:
            with open(path, "rb") as file:
                document = json.loads(file.read().decode("utf-8"))
        except (ValueError, RecursionError):
            return _Kind()
        learner = document.get("learner") if isinstance(document, dict) else None
        is_model = isinstance(learner, dict) and "generic_param" not in learner  # which save_config writes
        return _Kind(JSON) if is_model else _Kind(other=True, certain=suffix == "json")
    return _Kind(other=_is_other(head, tail, suffix))


def _is_other(head: bytes, tail: bytes, suffix: str) -> bool:
    if _NO_MODELS.fullmatch(suffix) or _OTHERS.match(head):
        return True
    return _is_text(head) and _is_text(tail) and not (_OF_JSON_MODEL.search(head) or _OF_JSON_MODEL.search(tail))


def form(head: bytes) -> str:
    """The format of a model of xgboost, or any pickle, by its first bytes; empty where they are of none."""
    for name, start in _FORMS:
        if start.match(head):
            return name
    return PICKLE if PICKLE_START.match(head) and (head[:1] == b"\x80" or _is_text_pickle(head)) else ""


def _is_text_pickle(head: bytes) -> bool:
    """Protocols 0 and 1 begin with a letter and a word, as a list of packages does: what follows tells."""
    import pickletools

    try:
        for number, _ in enumerate(pickletools.genops(head)):
            if number == 8:
                return True
    except Exception:  # pickletools raises what its readers raise
        return False
    return True


def _is_text(part: bytes) -> bool:
    """UTF-16 that says so, or mostly UTF-8 (it may be cut) without the control characters that no text has."""
    if part.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", part):
        return False
    return 4 * len(part.decode("utf-8", "ignore").encode("utf-8")) >= 3 * len(part)


def ends(path: str) -> Tuple[bytes, bytes]:
    """The first and the last 64 KiB of a file."""
    with open(path, "rb") as file:
        head = file.read(_PART)
        file.seek(max(0, os.path.getsize(path) - _PART))
        return head, file.read(_PART)


def _shape(name: str) -> str:
    return re.sub(r"\d+", "0", name.lower())


def _claims(name: str, alike: Any) -> bool:
    """Whether the name says that it is a model: by itself, or as the next number after that of a model."""
    return _SAYS_MODEL.fullmatch(name.lower()) is not None or _shape(name) in alike


# What a folder holds, in words.


def listing(names: Any) -> str:
    """Names in quotes, the first ten of them."""
    names = list(names)
    shown = ", ".join(quoted(name) for name in names[:_MOST_NAMES])
    return shown + (" and {} more".format(len(names) - _MOST_NAMES) if len(names) > _MOST_NAMES else "")


def quoted(name: str) -> str:
    """A name or a path in quotes, on one line, whatever is in it."""
    shown = ascii(name)[1:-1]
    return '"{}"'.format(shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "...")


def holds(folder: str) -> str:
    """What stands at the top of the folder, folders with a slash behind them; raises OSError."""
    names = sorted(os.listdir(folder))
    return listing(name + "/" if os.path.isdir(os.path.join(folder, name)) else name for name in names) or "nothing"


def deeper(folder: str) -> List[str]:
    """Paths of the models in folders of the folder, from the folder on; not of all where there are many entries."""
    paths, entries = [], 0
    for place, folders, names in os.walk(folder):
        depth = os.path.relpath(place, folder).count(os.sep) + 1 if place != folder else 0
        folders[:] = sorted(each for each in folders if depth < _DEEPEST and not each.startswith((".", "__MACOSX")))
        entries += len(folders) + len(names)
        if entries > _MOST_ENTRIES:
            break
        for name in sorted(names) if depth else ():
            kind = _kind(os.path.join(place, name))
            if kind.form or not kind.other and _SAYS_MODEL.fullmatch(name.lower()):
                paths.append(os.path.relpath(os.path.join(place, name), folder))
    return paths


def report(folder: str, names: Tuple[str, ...]) -> str:
    """What is passed over, as a line of the log; empty where only our own hidden file is."""
    others = [name for name in names if name != model_folder.FILE]
    return 'Not loaded from "{}", because they are no models: {}'.format(folder, listing(others)) if others else ""


def damage(path: str, *, failed: bool = False) -> str:
    """What is wrong with a model file for certain, or, where loading it has `failed`, probably; empty: not known.

    Raises OSError where it cannot be read.
    """
    head, tail = ends(path)
    if not head:
        return "it is empty"
    for start, name in _ARCHIVES:
        if head.startswith(start):
            return "it is an archive ({}), not a model: pack the model itself".format(name)
    if _DUMP.match(head):
        return 'it is a dump for people, which no xgboost loads: write it with save_model("model.json")'
    format_name = form(head) or _kind(path).form
    if not format_name and (failed or _is_text(head)):
        begins = "text" if _is_text(head) else "bytes"
        return "it begins with {} that no model of xgboost begins with: {}".format(begins, quoted_bytes(head))
    last = tail.rstrip()[-1:] if format_name == JSON else tail[-1:]
    if last != {JSON: b"}", UBJSON: b"}", PICKLE: b"."}.get(format_name, last):
        return "it is a {} model of {} bytes that breaks off".format(format_name, os.path.getsize(path))
    return ""


def quoted_bytes(head: bytes) -> str:
    """The first bytes of a file, printable."""
    return quoted(head[:24].decode("latin-1"))
