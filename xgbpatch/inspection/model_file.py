"""Which format a model file has, which xgboost wrote it, and which xgboosts read it. Nothing is loaded or unpickled.

Which version reads what was measured: `data/model_formats.json`, written by `scripts/model-formats`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

from packaging.version import Version

HEAD = 4096  # bytes that tell the format
_OBJECTIVE = re.compile(rb"[a-z]+:[a-z_]+")
_BOOSTERS = (b"gbtree", b"gblinear", b"dart")
_PARAMETERS = 136  # bytes of the binary form before the name of the objective
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]')
_UBJSON_VERSION = re.compile(rb"L\0{7}\x07version\[#L\0{7}\x03((?:i.|U.|I..|l....){3})\}", re.DOTALL)
_WIDTHS = {ord("i"): 1, ord("U"): 1, ord("I"): 2, ord("l"): 4}


class Format(Enum):
    """The forms in which xgboost and Python write a model, by the suffix that is used for them."""

    BINARY = "binary"
    JSON = "json"
    UBJSON = "ubj"
    PICKLE = "pickle"

    @property
    def title(self) -> str:
        return {"binary": "the old binary format", "json": "JSON", "ubj": "UBJSON", "pickle": "a pickle"}[self.value]

    @property
    def plural(self) -> str:
        return "pickles" if self is Format.PICKLE else f"{self.title.removeprefix('the old ').split()[0]} models"


@dataclass(frozen=True)
class ModelFile:
    """`xgboost` is the version that the file names as its writer; None where it names none, as before 1.0."""

    format: Format
    xgboost: Version | None = None


def recognise(content: bytes) -> ModelFile | None:
    """What `content`, a whole file, is; None where it is no model of xgboost. Its beginning tells the format."""
    format_ = format_of(content[:HEAD])
    if format_ is Format.BINARY:
        return ModelFile(format_, _binary_version(content))
    if format_ is None or (format_ is Format.PICKLE and b"xgboost" not in content):
        return None
    return ModelFile(format_, _last_version(content))


def format_of(head: bytes) -> Format | None:
    """By the first bytes: what follows `{` in JSON is text, in UBJSON the letter of a type; pickles of protocol 2 and
    newer begin with a byte of their own; the binary form names objective and booster behind its parameters."""
    if re.match(rb'\{\s*"', head):
        return Format.JSON if b'"learner"' in head or b'"version"' in head else None
    if re.match(rb"\{L\0{6}", head):
        return Format.UBJSON
    if re.match(rb"\x80[\x02-\x05]", head):
        return Format.PICKLE
    objective, _, booster = _binary_names(head)
    return Format.BINARY if _OBJECTIVE.fullmatch(objective) and booster in _BOOSTERS else None


def _binary_names(head: bytes) -> tuple[bytes, int, bytes]:
    """(objective, bytes before the parameters, booster) where `head` is the binary form; it is what dmlc writes: a
    length of eight bytes before each text."""
    begin = 4 if head.startswith(b"binf") else 0
    texts, place = [], begin + _PARAMETERS
    for _ in range(2):
        length = int.from_bytes(head[place : place + 8], "little")
        texts.append(head[place + 8 : place + 8 + length] if length < 64 else b"")
        place += 8 + length if length < 64 else 0
    return texts[0], begin, texts[1]


def _binary_version(content: bytes) -> Version | None:
    begin = _binary_names(content[:HEAD])[1]
    major, minor = struct.unpack_from("<II", content, begin + 20)
    return Version(f"{major}.{minor}") if 0 < major < 100 and minor < 1000 else None


def _last_version(content: bytes) -> Version | None:
    """JSON and UBJSON name it at their end, in a pickle too."""
    versions = [(match.start(), [int(part) for part in match.groups()]) for match in _JSON_VERSION.finditer(content)]
    versions += [(match.start(), _of_ubjson(match.group(1))) for match in _UBJSON_VERSION.finditer(content)]
    return Version(".".join(map(str, max(versions)[1]))) if versions else None


def _of_ubjson(content: bytes) -> list[int]:
    """Integers of UBJSON: a letter for the width, then the number, big endian."""
    numbers, place = [], 0
    while place < len(content):
        end = place + 1 + _WIDTHS[content[place]]
        numbers.append(int.from_bytes(content[place + 1 : end], "big"))
        place = end
    return numbers


# Which xgboost reads what another wrote.


EQUAL, OTHER, REFUSED = "equal", "other", "refused"  # the predictions are the same, are others, or it does not load


@cache
def measured() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """written by → format → read by → EQUAL, OTHER or REFUSED, with the kinds of models for which it does not hold."""
    text = files("xgbpatch").joinpath("data").joinpath("model_formats.json").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, Mapping[str, str]]] = json.loads(text)
    return table


def nearest(version: Version) -> str:
    """The measured xgboost that stands for `version`: the oldest that is not older (major.minor), or the newest."""
    names = sorted(measured(), key=Version)
    return next((name for name in names if Version(name).release[:2] >= version.release[:2]), names[-1])


def verdict(file: ModelFile, xgboost: Version) -> str:
    """How that xgboost reads such a file: EQUAL, OTHER or REFUSED. One without a version counts as the oldest."""
    wrote = nearest(file.xgboost or Version("0"))
    return measured()[wrote].get(file.format.value, {}).get(nearest(xgboost), EQUAL).partition(" ")[0]


def border(version: str, before: Version | None, now: Version | None) -> str:
    """Which models loaded in xgboost `before` and do not in `now`, that of the image `version`, or predict otherwise.

    Empty where there are none, and where either xgboost is not known.
    """
    if before is None or now is None or nearest(before) == nearest(now):
        return ""
    clauses = []
    for verdict, words in ((REFUSED, "does not load"), (OTHER, "predicts other numbers with")):
        spans: dict[str, list[str]] = {}
        for form in Format:
            forms_of = {
                wrote: forms.get(form.value, {}) for wrote, forms in measured().items() if Version(wrote) <= before
            }
            wrote = [each for each in forms_of if _is_lost(forms_of[each], nearest(before), nearest(now), verdict)]
            if wrote:
                span = wrote[0] if len(wrote) == 1 else f"{wrote[0]} to {wrote[-1]}"
                spans.setdefault(span, []).append(form.plural)
        if spans:
            lost = " and ".join(f"{_listed(forms)} of xgboost {span}" for span, forms in spans.items())
            clauses.append(f"{words} {lost}")
    if not clauses:
        return ""
    option = "" if now > before else f" --for {version}"
    return (
        f"{version} holds xgboost {now}, which {', and '.join(clauses)}, unlike {before}: convert them with "
        f"`xgbpatch convert-model{option}`"
    )


def _is_lost(verdicts: Mapping[str, str], before: str, now: str, verdict: str) -> bool:
    return verdicts.get(before, "").startswith(EQUAL) and verdicts.get(now, "").startswith(verdict)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
