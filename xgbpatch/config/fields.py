"""What each setting may hold: text or a TOML value in, a checked value out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from string import Formatter
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from xgbpatch.catalogue import refuse_moving
from xgbpatch.config.settings import Given, SpecSettings, blamed_on
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.features import ALL, FEATURES, FIXES
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture, Replacement, UserFile
from xgbpatch.util import did_you_mean

REPLACEABLE = ("sagemaker_xgboost_container", "sagemaker_algorithm_toolkit")
TAG_FIELDS = MappingProxyType({"version": "3.2-0", "base": "0" * 12, "spec": "0" * 8})  # with values of usual length
RESERVED = MappingProxyType({
    "PATH": "the base's commands are found through it",
    "PYTHONPATH": "the overlay extends it",
    "LD_LIBRARY_PATH": "the base finds its libraries through it",
    "HOME": "SageMaker sets it",
    "SAGEMAKER_SERVING_MODULE": "the overlay is switched in through it",
    "SAGEMAKER_TRAINING_MODULE": "the overlay is switched in through it",
    "XGBPATCH_FEATURES": "the features of the image are written there",
    "XGBPATCH_FIXES": "the fixes of the image are written there",
    "XGBPATCH_BASE": "the base of the image is written there",
    "XGBPATCH_RELEASE": "the xgbpatch that made the image is written there",
})  # fmt: skip

_SHAPES = {bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d{1,2}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MODULE = re.compile(rf"(?:{'|'.join(REPLACEABLE)})(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_SHA256 = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_CREDENTIAL_NAME = re.compile(r"AWS_.*KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_?KEY")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f\\]")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(?:^|\s)(-{1,2}[A-Za-z][\w-]*)")
_PATTERN_HELP = 'Write it as "{version}-{base}-{spec}".'


def parse(entries: Mapping[str, Given], folder: Path) -> SpecSettings:
    """Check every value; relative paths start at `folder`. Raises `ConfigurationError` that names the origin.

    Flags, variables and the file all pass through here, so they obey the same rules.
    """
    values: dict[str, Any] = {}
    for key, item in entries.items():
        with blamed_on(item.origin):
            values[key] = PARSERS[key](item.value, folder)
    return SpecSettings(**values, origins={key: item.origin for key, item in entries.items()})


def text_of(value: Any) -> str:
    """Raises `ConfigurationError` for anything but text that says something."""
    if not isinstance(value, str):
        raise ConfigurationError(f"must be text, not {_shape(value)}", f'Write it in quotes: "{value}".')
    if not value.strip():
        raise ConfigurationError("must not be empty", "Name a value, or leave it out.")
    return value


def texts_of(value: Any) -> tuple[str, ...]:
    """A list of texts; what stands in it twice counts once."""
    if not isinstance(value, list):
        raise ConfigurationError(f"must be a list of texts, not {_shape(value)}", 'Write it as ["one", "two"].')
    return tuple(dict.fromkeys(text_of(item) for item in value))


def tables_of(value: Any, required: Collection[str], optional: Collection[str] = ()) -> list[dict[str, Any]]:
    """An array of tables, as `[[files]]` writes it; each has all of `required` and nothing beyond `optional`."""
    if not isinstance(value, list):
        raise ConfigurationError(f"must be an array of tables, not {_shape(value)}", "Write it with double brackets.")
    for table in value:
        if not isinstance(table, dict):
            raise ConfigurationError(f"must be a table, not {_shape(table)}")
        _among(table, (*required, *optional), "a key here")
        for key in required:
            if key not in table:
                raise ConfigurationError(f'"{key}" is missing', f"Every entry needs {', '.join(required)}.")
    return value


def _shape(value: Any) -> str:
    return _SHAPES.get(type(value), type(value).__name__)


_Words = TypeVar("_Words", bound=Iterable[str])


def _among(words: _Words, allowed: Collection[str], what: str) -> _Words:
    """`words`, each of which must be one of `allowed`; `what` such a word is called, in the error."""
    for word in words:
        if word not in allowed:
            raise ConfigurationError(f'"{word}" is not {what}', did_you_mean(word, allowed))
    return words


def _matching(value: Any, form: re.Pattern[str], refusal: str, next_step: str) -> str:
    """Text of that form."""
    text = text_of(value)
    if not form.fullmatch(text):
        raise ConfigurationError(f'"{text}" {refusal}', next_step)
    return text


def environment_of(value: Any) -> Mapping[str, str]:
    """Names and values for the image; raises `ConfigurationError` for a reserved name, and for a secret: everyone who
    pulls the image can read its variables."""
    if not isinstance(value, dict):
        raise ConfigurationError("must be a table of NAME = value", 'Write it as { OMP_NUM_THREADS = "4" }.')
    for name, entry in value.items():
        if not _VARIABLE_NAME.fullmatch(name):
            raise ConfigurationError(
                f'"{name}" is not a variable name', "Use capital letters, digits and underscores, no digit first."
            )
        if name in RESERVED:
            raise ConfigurationError(
                f'"{name}" cannot be set: {RESERVED[name]}', f"Not allowed: {', '.join(RESERVED)}."
            )
        if _CREDENTIAL_NAME.search(name) or (isinstance(entry, str) and _ACCESS_KEY.search(entry)):
            raise ConfigurationError(
                f'"{name}" looks like a credential, and variables can be read by everyone who pulls the image',
                "Give it to the endpoint or the training job when it is created, or let its role do the work.",
            )
        if isinstance(entry, bool) or not isinstance(entry, str | int | float):
            raise ConfigurationError(f'the value of "{name}" must be text or a number', f'Write it as {name} = "…".')
        if _UNPRINTABLE.search(str(entry)):
            raise ConfigurationError(f'the value of "{name}" holds a line break or a control character')
    return {name: str(entry) for name, entry in value.items()}


def requirement(written: str) -> str:
    """`written` as PEP 508 spells it; raises `ConfigurationError` that quotes what is wrong with it."""
    try:
        requirement = Requirement(written)
        if "@" in urlsplit(requirement.url or "").netloc:
            raise ConfigurationError(
                f'the address of "{requirement.name}" holds credentials, which would be logged',
                "Leave them out, and write them to netrc.",
            )
        return str(requirement)
    except ValueError as error:  # `InvalidRequirement` is one; an address may be none either
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f'"{written}" is not a requirement: {reason}', 'Write it as pip does: "shap", "shap==0.46.0", "shap>=0.44".'
        ) from error


def requirements_in(path: Path) -> tuple[str, ...]:
    """The requirements of a file in pip's format, without its options.

    Options (`-r`, `--hash`, `--index-url`…) are refused by line rather than dropped: what they promise would not hold.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'cannot read "{path}" as a requirements file: {error}') from error
    requirements: dict[str, None] = {}
    for number, line in _lines(content):
        option = _OPTION.search(line)
        if option:
            raise ConfigurationError(
                f'line {number} of "{path}" holds the option "{option[1]}"',
                "List plain requirements only; xgbpatch resolves them for the base and pins each wheel by its hash.",
            )
        with blamed_on(f'line {number} of "{path}"'):
            requirements[requirement(line)] = None
    return tuple(requirements)


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line: a backslash at the end continues a line."""
    begun, collected = 0, ""
    for number, line in enumerate([*content.splitlines(), ""], 1):
        begun = begun or number
        collected += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        bare = _COMMENT.sub("", collected).strip()
        if bare:
            yield begun, bare
        begun, collected = 0, ""


def user_files(value: Any, folder: Path) -> tuple[UserFile, ...]:
    """`[[files]]` tables with `source` (relative to `folder`) and `target`; a directory stands for all files below it.

    Raises `ConfigurationError` for a source that is missing, a target that leaves the folder, or one named twice.
    """
    by_target: dict[str, UserFile] = {}
    for entry in tables_of(value, ("source",), ("target",)):
        for file in _expanded(entry, folder):
            if file.target in by_target:
                raise ConfigurationError(
                    f'"{by_target[file.target].source}" and "{file.source}" both become "{file.target}"',
                    "Give one of them another target.",
                )
            by_target[file.target] = file
    return tuple(by_target[target] for target in sorted(by_target))


def replacements(value: Any, folder: Path) -> tuple[Replacement, ...]:
    """`[[replace]]` tables with `module`, `source` (relative to `folder`) and the `sha256` of the base's file."""
    by_module: dict[str, Replacement] = {}
    for entry in tables_of(value, ("module", "source", "sha256")):
        source = existing(entry["source"], folder)
        if not source.is_file():
            raise ConfigurationError(f'"{entry["source"]}" is not a file', "One file replaces one module.")
        module = _matching(
            entry["module"], _MODULE, "is not a module of the official packages",
            f"Modules start with {' or '.join(REPLACEABLE)}.",
        )  # fmt: skip
        sha256 = _matching(
            entry["sha256"], _SHA256, "is not a sha256",
            "Write 64 hexadecimal digits; `xgbpatch inspect` prints those of the base.",
        )  # fmt: skip
        if module in by_module:
            raise ConfigurationError(f'"{module}" is replaced twice', "Keep one of the two.")
        by_module[module] = Replacement(module, source, sha256.removeprefix("sha256:"))
    return tuple(by_module.values())


def existing(written: Any, folder: Path) -> Path:
    """The absolute path of `written`, which must exist; relative paths start at `folder`."""
    path = Path(os.path.abspath(folder / text_of(written)))
    if not path.exists():
        raise ConfigurationError(
            f'"{written}" does not exist', f'Looked for "{path}" (relative paths start at "{folder}").'
        )
    return path


def _expanded(entry: dict[str, Any], folder: Path) -> Iterator[UserFile]:
    source = existing(entry["source"], folder)
    target = _target(text_of(entry.get("target", source.name)))
    if source.is_file():
        yield UserFile(source, target)
        return
    files = list(_files_below(source))
    if not files:
        raise ConfigurationError(f'"{entry["source"]}" holds no file', "Hidden files and __pycache__ are left out.")
    for file in files:
        yield UserFile(file, _target(f"{target}/{file.relative_to(source).as_posix()}"))


def _files_below(root: Path) -> Iterator[Path]:
    """Regular files, without hidden ones and caches; links to directories are not followed."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and not name.endswith(".pyc") and path.is_file():
                yield path


def _target(written: str) -> str:
    path = PurePosixPath(written)
    if _NOT_IN_A_PATH.search(written) or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigurationError(
            f'target "{written}" does not stay inside the image\'s folder for user files',
            'Write a relative path with "/" and without "..", such as "mypackage/module.py".',
        )
    return path.as_posix()


def _version(value: Any) -> str:
    refuse_moving(text_of(value))
    return _matching(value, _VERSION, "cannot be a version", 'Versions look like "3.2-0": xgbpatch versions.')


def _region(value: Any) -> str:
    return _matching(value, _REGION, "is not a region", 'Regions look like "eu-central-1".')


def _architecture(value: Any) -> Architecture:
    names = [architecture.value for architecture in Architecture]
    return Architecture(*_among([text_of(value)], names, "an architecture"))


def _repository(value: Any) -> str:
    reference = ImageReference.parse(text_of(value))
    if reference.host or reference.tag or reference.digest:
        raise ConfigurationError(
            f'"{value}" holds more than a repository: a registry, a tag or a digest',
            f'Write "{reference.repository}"; the registry is named when pushing.',
        )
    return reference.repository


def _tag_pattern(value: Any) -> str:
    pattern = text_of(value)
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigurationError(f'"{pattern}" is not a tag pattern: {error}', _PATTERN_HELP) from error
    if any(format_spec or conversion for _, _, format_spec, conversion in pieces):
        raise ConfigurationError(f'"{pattern}" formats a field, which tag patterns cannot', _PATTERN_HELP)
    for _, name, _, _ in pieces:
        if name is not None and name not in TAG_FIELDS:
            raise ConfigurationError(f'"{{{name}}}" is not a field of a tag pattern', did_you_mean(name, TAG_FIELDS))
    _check_tag(pattern.format(**TAG_FIELDS), pattern)
    return pattern


def _aliases(value: Any) -> tuple[str, ...]:
    aliases = texts_of(value)
    for alias in aliases:
        _check_tag(alias, alias)
    return aliases


def _check_tag(tag: str, written: str) -> None:
    if not _TAG.fullmatch(tag):
        raise ConfigurationError(
            f'"{written}" does not make a valid tag',
            "Tags hold up to 128 letters, digits, dots, dashes and underscores, and start with a letter or digit.",
        )


PARSERS: Mapping[str, Callable[[Any, Path], Any]] = MappingProxyType({
    "version": lambda value, _: _version(value),
    "region": lambda value, _: _region(value),
    "architecture": lambda value, _: _architecture(value),
    "base_image": lambda value, _: ImageReference.parse(text_of(value)),
    "features": lambda value, _: _among(texts_of(value), FEATURES, "a feature"),
    "fixes": lambda value, _: _among(texts_of(value), (ALL, *FIXES), "a fix"),
    "packages": lambda value, _: tuple(requirement(item) for item in texts_of(value)),
    "requirements": lambda value, folder: requirements_in(existing(value, folder)),
    "files": user_files,
    "replace": replacements,
    "environment": lambda value, _: environment_of(value),
    "repository": lambda value, _: _repository(value),
    "tag": lambda value, _: _tag_pattern(value),
    "aliases": lambda value, _: _aliases(value),
})  # fmt: skip
