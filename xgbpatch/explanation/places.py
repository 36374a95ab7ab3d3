"""Where inputs lie and parts go: files of this machine, or objects in S3."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xgbpatch.aws.s3 import S3, SCHEME, S3Location, S3Object
from xgbpatch.cache import sha256_of
from xgbpatch.errors import ConfigurationError, FileError
from xgbpatch.report.explanations import JOURNAL, files_of
from xgbpatch.util import atomic_write, locked_path

Place = Path | S3Location


def parse(text: str) -> Place:
    """A path, or `s3://bucket/key`; raises `ConfigurationError` without a bucket."""
    return S3Location.parse(text) if text.startswith(SCHEME) else Path(text)


def require_apart(sources: Sequence[Place], output: Place) -> None:
    """Raises `ConfigurationError` where `output` lies in a folder of `sources`: its parts would be rows to explain."""
    for source in sources:
        if isinstance(source, Path) and isinstance(output, Path):
            inside = source.is_dir() and output.resolve().is_relative_to(source.resolve())
        elif isinstance(source, S3Location) and isinstance(output, S3Location):
            inside = source.bucket == output.bucket and output.folder.key.startswith(source.folder.key)
        else:
            continue
        if inside:
            raise ConfigurationError(f'the output "{output}" lies in the input "{source}"', "Name another folder.")


class Input(Protocol):
    """A file of rows. `shown` stands in errors, `size` is in bytes, `identity` changes with the content."""

    @property
    def shown(self) -> str: ...

    @property
    def size(self) -> int: ...

    def identity(self) -> dict[str, object]: ...

    def opened(self) -> AbstractContextManager[Path]:
        """The file on this machine, until the block ends."""
        ...

    def check(self) -> None:
        """Raises `FileError` where the opened file is no longer what was named."""
        ...


@dataclass(frozen=True)
class LocalInput:
    """A file of this machine. `changed` is when it last was, in nanoseconds, as it was named."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> LocalInput:
        state = path.stat()
        return cls(path, state.st_size, state.st_mtime_ns)

    @property
    def shown(self) -> str:
        return str(self.path)

    def identity(self) -> dict[str, object]:
        return {"name": self.path.name, "bytes": self.size, "sha256": sha256_of(self.path)}

    @contextmanager
    def opened(self) -> Iterator[Path]:
        yield self.path
        self.check()

    def check(self) -> None:
        if LocalInput.of(self.path) != self:
            raise FileError(
                f'"{self.path}" changed while its rows were read',
                "Give a file that nobody writes to, and a new output folder.",
            )


@dataclass(frozen=True)
class S3Input:
    """An object, which is downloaded whole while its rows are read."""

    s3: S3
    item: S3Object

    @property
    def shown(self) -> str:
        return str(self.item.location)

    @property
    def size(self) -> int:
        return self.item.size

    def identity(self) -> dict[str, object]:
        return {"name": self.shown, "bytes": self.size, "etag": self.item.etag}

    @contextmanager
    def opened(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="xgbpatch-s3-") as folder:
            if shutil.disk_usage(folder).free < self.size:
                raise FileError(
                    f'"{folder}" has no room for the {self.size:,} bytes of "{self.shown}"',
                    "The variable TMPDIR names another folder.",
                )
            path = Path(folder) / self.item.location.name
            self.s3.download(self.item, path)
            yield path

    def check(self) -> None:
        """It is a copy, which nobody changes."""


def inputs_of(places: Sequence[Place], s3: S3) -> list[Input]:
    """The files that `places` stand for, a folder (or a prefix) for all of its files in the order of their names.

    Raises `ConfigurationError` where there is none.
    """
    inputs: list[Input] = []
    for place in places:
        if isinstance(place, Path):
            inputs += map(LocalInput.of, files_of([place]))
        else:
            inputs += [S3Input(s3, item) for item in objects_of(place, s3)]
    return inputs


def objects_of(place: S3Location, s3: S3) -> list[S3Object]:
    """The object `place`, or those below it, hidden ones and our journal left out; raises `ConfigurationError` where
    there is none."""
    listed = [item for item in s3.objects(place) if not item.location.name.startswith((".", "_"))]
    exact = [item for item in listed if item.location == place]
    below = [item for item in listed if item.location.key.startswith(place.folder.key)]
    below = [item for item in below if item.location.name != JOURNAL]
    if not exact and not below:
        raise ConfigurationError(f'there is nothing at "{place}"')
    return exact or below


class Output(Protocol):
    """Where parts go: each is whole or not there."""

    def opened(self) -> AbstractContextManager[None]:
        """Ready to write, until the block ends."""
        ...

    def journal(self) -> bytes | None: ...

    def parts(self) -> list[str]:
        """The names of what is there and looks like a part."""
        ...

    def sha256(self, name: str) -> str:
        """Of what is there under that name (hexadecimal); empty where nothing is."""
        ...

    def write(self, name: str, content: bytes, sha256: str) -> None: ...


@dataclass(frozen=True)
class LocalOutput:
    """A folder of this machine, which is made where it is missing, and locked."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    @contextmanager
    def opened(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked_path(self.folder):
            for left in self.folder.glob(".*.part"):  # of a run that was killed while it wrote
                left.unlink()
            yield

    def journal(self) -> bytes | None:
        path = self.folder / JOURNAL
        return path.read_bytes() if path.is_file() else None

    def parts(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("part-*"))

    def sha256(self, name: str) -> str:
        path = self.folder / name
        return sha256_of(path) if path.is_file() else ""

    def write(self, name: str, content: bytes, sha256: str) -> None:
        atomic_write(self.folder / name, content)


@dataclass(frozen=True)
class S3Output:
    """Below a prefix in S3. Nothing locks it: two runs of the same command write the same bytes there."""

    s3: S3
    prefix: S3Location

    def __str__(self) -> str:
        return str(self.prefix)

    def opened(self) -> AbstractContextManager[None]:
        return nullcontext()

    def journal(self) -> bytes | None:
        return self.s3.read(self.prefix.below(JOURNAL))

    def parts(self) -> list[str]:
        return [item.location.name for item in self.s3.objects(self.prefix.below("part-"))]

    def sha256(self, name: str) -> str:
        return self.s3.sha256(self.prefix.below(name))

    def write(self, name: str, content: bytes, sha256: str) -> None:
        self.s3.write(self.prefix.below(name), content, sha256)


def output_of(place: Place, s3: S3) -> Output:
    """Where the parts of a run go."""
    return LocalOutput(place) if isinstance(place, Path) else S3Output(s3, place)


@contextmanager
def fetched(place: Place, s3: S3) -> Iterator[Path]:
    """A path as it is; an object in S3 as a file under its own name, until the block ends."""
    if isinstance(place, Path):
        yield place
        return
    item = next((item for item in s3.objects(place) if item.location == place), None)
    if item is None:
        raise ConfigurationError(f'there is no object "{place}"', "Name a model file or a model.tar.gz.")
    with S3Input(s3, item).opened() as path:
        yield path
