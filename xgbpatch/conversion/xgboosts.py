"""An xgboost of another version, to be asked about a model: in an environment from the package index or a container.

An environment is made once by uv, which brings interpreter and wheels, and kept in the cache folder. A container gets
no network, no capabilities, a file system that it cannot write, limits of memory, time and processes, and one file for
its answer: a pickle runs whatever code it holds.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from packaging.version import Version

from xgbpatch import cache
from xgbpatch.errors import ConfigurationError, ConversionError, EngineError, PackageError
from xgbpatch.patch import indexes
from xgbpatch.patch.packages import find_uv
from xgbpatch.progress import Progress
from xgbpatch.util import did_you_mean, load_data

if TYPE_CHECKING:
    from xgbpatch.engine.client import Engine

KIND = "xgboosts"  # of the cache
_SIZES = "sizes.json"
_SECONDS = 900
_MEMORY = 2 << 30  # bytes; and as often the model's size as
_MEMORY_PER_BYTE = 32
_ANSWER = 256 << 20  # bytes; and as often the model's size as
_ANSWER_PER_BYTE = 64
_BESIDES = re.compile(r"^  |^Stack trace|^Traceback|^During handling|Warning: |WARNING: ")
_SHOWN = 3  # lines of what a failed xgboost printed
_QUIET = {"OMP_NUM_THREADS": "1", "HOME": "/tmp"}  # noqa: S108  # of a container


class Xgboost(Protocol):
    """Where the program `probe.py` runs."""

    def ask(self, model: Path | None, reading: Path | None, settings: Mapping[str, Any], answer: Path) -> None:
        """Put the program's answer, a zip file, to `answer`. `reading` is such an answer, of another xgboost.

        Raises `ConversionError` with the program's last words where it fails.
        """


@dataclass(frozen=True)
class Release:
    """A version of xgboost that this xgbpatch knows, the Python that it runs on and the packages that it needs."""

    version: str
    python: str
    packages: tuple[str, ...]


def releases() -> tuple[Release, ...]:
    """Oldest first."""
    table = load_data("xgboosts.toml")
    return tuple(Release(version, table[version]["python"], tuple(table[version]["packages"])) for version in table)


def release(name: str) -> Release:
    """By the version of xgboost (1.7.6 means 1.7.4) or of an official image; raises `ConfigurationError`."""
    known = {each.version: each for each in releases()}
    images = {image: row["xgboost"] for image, row in load_data("versions.toml").items() if row["xgboost"] in known}
    minors = {version.rpartition(".")[0]: each for version, each in known.items()}
    chosen = known.get(images.get(name, name)) or minors.get(".".join(name.split(".")[:2]))
    if chosen is None:
        raise ConfigurationError(
            f'"{name}" is no version of xgboost or of an image', did_you_mean(name, (*known, *images))
        )
    return chosen


def reader_of(xgboost: Version | None, newest: str) -> Release:
    """Which reads a file that xgboost wrote: the oldest that is not older than its writer, else the newest there is;
    `newest` where the file does not name its writer."""
    if xgboost is None:
        return release(newest)
    return next(
        (each for each in releases() if Version(each.version).release[:2] >= xgboost.release[:2]), releases()[-1]
    )


@dataclass(frozen=True)
class Environment:
    """On this machine, with the user's rights. `folder` holds the packages."""

    release: Release
    folder: Path
    interpreter: Path

    @classmethod
    def provide(cls, chosen: Release, folder: Path, progress: Progress) -> Environment:
        """From the cache `folder`, made where it is missing; raises `PackageError` and `ExtraMissingError`."""
        variables = _variables()
        interpreter = _interpreter(chosen, variables, progress)
        cache.hold(folder / KIND)
        path = folder / KIND / f"{chosen.version}-python{chosen.python}-{sys.platform}-{platform.machine()}"

        def install(part: Path) -> None:
            progress.line(f"Fetching xgboost {chosen.version} for Python {chosen.python}, once")
            requirements = (f"xgboost=={chosen.version}", *chosen.packages)
            _uv(
                ("pip", "install", "--target", str(part), "--python", str(interpreter), "--no-deps", "--quiet",
                 "--only-binary=:all:", "--no-python-downloads", *requirements), f"xgboost {chosen.version}", variables,
            )  # fmt: skip
            (part / _SIZES).write_text(json.dumps(_sizes(part)), encoding="utf-8")

        # Half a gigabyte is not hashed at each use: what it answers is compared with the answer of another.
        site_folder = cache.keep(path, install, lambda site: json.loads((site / _SIZES).read_text()) == _sizes(site))
        return cls(chosen, site_folder, interpreter)

    def ask(self, model: Path | None, reading: Path | None, settings: Mapping[str, Any], answer: Path) -> None:
        known = {"site": str(self.folder), "model": _text(model), "reading": _text(reading), "answer": str(answer)}
        command = [str(self.interpreter), "-I", "-W", "ignore", "-c", _program({**settings, **known})]
        try:
            process = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=answer.parent, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ConversionError(f"xgboost {self.release.version} did not end within {_SECONDS} s") from None
        _require_success(f"xgboost {self.release.version}", process.returncode, process.stderr, proving=bool(reading))


@dataclass(frozen=True)
class Sealed:
    """In a container of `image`, an ID that people know by `name`, on the Python that its `serve` runs on."""

    engine: Engine
    image: str
    name: str

    def ask(self, model: Path | None, reading: Path | None, settings: Mapping[str, Any], answer: Path) -> None:
        from xgbpatch.engine.types import Mount, Run
        from xgbpatch.inspection.container import FIND_AND_RUN

        inside = {
            path: f"/xgbpatch/{name}{path.suffix}" for path, name in ((model, "model"), (reading, "reading")) if path
        }
        size = sum(path.stat().st_size for path in inside)
        answer.touch()
        for path, mode in (*((path, 0o644) for path in inside), (answer, 0o666), (answer.parent, 0o711)):
            path.chmod(mode)  # for a container that runs as nobody
        known = {
            "site": "", "answer": "/xgbpatch/answer", "model": _text(inside.get(model) if model else None),
            "reading": _text(inside.get(reading) if reading else None),
        }  # fmt: skip
        run = Run(
            self.image, ("-c", FIND_AND_RUN, _program({**settings, **known})), entrypoint=("/bin/sh",), network="none",
            environment=_QUIET, memory=_MEMORY + _MEMORY_PER_BYTE * size, sealed=True,
            mounts=(
                *(Mount(path, target, read_only=True) for path, target in inside.items()),
                Mount(answer, "/xgbpatch/answer"),
            ),
            largest_file=_ANSWER + _ANSWER_PER_BYTE * size,
        )  # fmt: skip
        try:
            result = self.engine.run(run, timeout=_SECONDS)
        except EngineError as error:
            raise EngineError(f'"{self.name}" could not be asked: {error.message}', error.next_step) from error
        _require_success(f'the xgboost of "{self.name}"', result.exit_code, result.stderr, proving=bool(reading))


def program_text() -> str:
    """`probe.py`, to which a call is added."""
    return files("xgbpatch.conversion").joinpath("probe.py").read_text(encoding="utf-8")


def _program(settings: Mapping[str, Any]) -> str:
    return f"{program_text()}\n\nmain({dict(settings)!r})\n"


def _text(path: Path | str | None) -> str:
    return str(path) if path else ""


def _require_success(who: str, code: int, stderr: str, *, proving: bool) -> None:
    if code == 0:
        return
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _BESIDES.search(line)]
    how = f"ended with signal {-code}" if code < 0 else f"ended with exit code {code}"
    raise ConversionError(
        f"{who} {how}: {'; '.join(lines[-_SHOWN:]) or 'without a word'}",
        "It was to read the new model. --for names another version."
        if proving
        else "Is it a model that this version wrote? --with names another version, --image an image.",
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Of the packages; not of byte code, which the first use writes beside them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != _SIZES and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(paths)}


def _variables() -> dict[str, str]:
    """For uv: the indexes of uv and pip, and pyenv's interpreters, which uv does not find behind pyenv's shims."""
    variables = indexes.variables()
    pyenv = Path(variables.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [str(path) for path in sorted(pyenv.glob("3.*/bin"))]
    return {**variables, "PATH": os.pathsep.join([*folders, variables.get("PATH", os.defpath)])}


def _interpreter(chosen: Release, variables: Mapping[str, str], progress: Progress) -> Path:
    """A Python of that minor: this machine's, else uv's own."""
    find = ("python", "find", "--no-project", "--no-python-downloads", chosen.python)
    try:
        return Path(_uv(find, f"Python {chosen.python}", variables))
    except PackageError:
        progress.line(f"Fetching Python {chosen.python}, once")
        _uv(("python", "install", "--quiet", chosen.python), f"Python {chosen.python}", variables)
        return Path(_uv(find, f"Python {chosen.python}", variables))


def _uv(arguments: tuple[str, ...], what: str, variables: Mapping[str, str]) -> str:
    """What uv printed. It runs in an empty folder, where it finds no project's settings."""
    with tempfile.TemporaryDirectory(prefix="xgbpatch-uv-") as folder:
        Path(folder, "uv.toml").touch()
        command = [find_uv(), *arguments]
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(variables), cwd=folder)
    if process.returncode != 0:
        raise PackageError(
            f"{what} could not be fetched:\n{indexes.redacted(process.stderr.strip())}",
            f"Asked: {indexes.named(variables)}, as the settings of uv, then those of pip, say. Or name an image that "
            "holds it with --image.",
        )
    return process.stdout.strip()
