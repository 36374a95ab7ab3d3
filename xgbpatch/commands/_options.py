"""The options that commands share, and the way from them to specs. The environment is read here and nowhere below."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from xgbpatch.config.settings import Flags
from xgbpatch.errors import ConfigurationError, FileError
from xgbpatch.spec import DEFAULT_REPOSITORY, DEFAULT_TAG, Architecture, Spec

if TYPE_CHECKING:
    from xgbpatch.progress import Progress
    from xgbpatch.publish.attachments import Signer

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file.  [default: ./xgbpatch.toml, where there is one]",
)
region_option = click.option(
    "--region",
    metavar="REGION",
    help="AWS region of the base and of the repository.  [default: AWS_REGION, or the AWS profile's]",
)
regions_option = click.option(
    "--region", "regions", multiple=True, metavar="REGION", help="AWS region; repeatable.  [default: yours]"
)
version_option = click.option(
    "--version", metavar="VERSION", help="Version of the official image, such as 3.2-0 (xgbpatch versions)."
)
_IMAGE_OPTIONS = (
    config_option,
    click.option(
        "--image",
        "images",
        metavar="NAME",
        multiple=True,
        help="Image of the file to work on; repeatable.  [default: all of them]",
    ),
    version_option,
    region_option,
    click.option(
        "--arch",
        "--platform",
        "architecture",
        type=click.Choice([name for item in Architecture for name in (item.value, item.platform)]),
        callback=lambda context, option, value: value and value.removeprefix("linux/"),
        help="Architecture; arm64 is Graviton inference with 1.3-1 and 1.5-1.  [default: amd64]",
    ),
    click.option(
        "--base-image",
        metavar="REFERENCE",
        help="Base in any registry, or in the local engine where no registry host is named, "
        "instead of the official image.",
    ),
    click.option(
        "--feature",
        "features",
        metavar="NAME[,NAME]",
        multiple=True,
        help="Feature to switch on; repeatable (xgbpatch features).",
    ),
    click.option(
        "--fix",
        "fixes",
        metavar="NAME[,NAME]",
        multiple=True,
        help="Known bug of the base to fix, or all; repeatable (xgbpatch fixes).",
    ),
    click.option(
        "--package",
        "packages",
        metavar="REQUIREMENT",
        multiple=True,
        help="Python package to install beside the base; repeatable.",
    ),
    click.option("--requirements", metavar="FILE", help="Requirements file, its packages installed beside the base."),
    click.option(
        "--file",
        "files",
        metavar="SRC[:TARGET]",
        multiple=True,
        help="File or directory of yours to make importable in the image; repeatable.",
    ),
    click.option(
        "--env",
        "environment",
        metavar="NAME=VALUE",
        multiple=True,
        help="Environment variable of the image, readable by all who pull it; repeatable.",
    ),
    click.option("--repository", metavar="NAME", help=f"Repository to push to.  [default: {DEFAULT_REPOSITORY}]"),
    click.option(
        "--tag-pattern",
        "tag",
        metavar="PATTERN",
        help=f"Tag, with the fields {{version}}, {{base}} and {{spec}}.  [default: {DEFAULT_TAG}]",
    ),
    click.option(
        "--alias", "aliases", metavar="TAG[,TAG]", multiple=True, help="Further tag for the pushed image; repeatable."
    ),
)
_FLAG_NAMES = tuple(field.name for field in fields(Flags))

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
all_option = click.option(
    "--all", "everything", is_flag=True, help="Every image of the file, even where XGBPATCH_IMAGE chooses some."
)
builder_option = click.option(
    "--builder",
    type=click.Choice(["docker", "registry"]),
    default="docker",
    show_default=True,
    help="With the local engine, or without any, straight into the registry.",
)


def target_options(function: F) -> F:
    """Where an image is published: `--registry` and `--account`; it is given to the command as `publish_target`."""

    @click.option("--registry", default="", metavar="HOST", help="A private registry instead of ECR.")
    @click.option("--account", default="", metavar="ID", help="Account whose ECR is meant.  [default: your own]")
    @wraps(function)
    def collected(registry: str, account: str, **kwargs: Any) -> Any:
        from xgbpatch.spec import PublishTarget

        return function(publish_target=PublishTarget(registry, account), **kwargs)

    return cast(F, collected)


@dataclass(frozen=True)
class Signature:
    """Whether the image is to be signed, and with which key (empty: cosign's keyless way)."""

    enabled: bool = False
    key: str = ""

    def signer(self) -> Signer | None:
        """The cosign on PATH, asked for before anything is made; None where no signature is wanted."""
        from xgbpatch.publish import attachments

        if self.key and not self.enabled:
            raise ConfigurationError("--sign-key is for --sign", "Give --sign as well.")
        return attachments.signer(self.key) if self.enabled else None


def sign_options(function: F) -> F:
    """`--sign` and `--sign-key`; the command receives them as `signature: Signature`."""

    @click.option("--sign", is_flag=True, help="Sign the published image with cosign, which must be installed.")
    @click.option("--sign-key", default="", metavar="KEY", help="cosign's key: a file, awskms:///…, env://NAME.")
    @wraps(function)
    def collected(sign: bool, sign_key: str, **kwargs: Any) -> Any:
        return function(signature=Signature(sign, sign_key), **kwargs)

    return cast(F, collected)


def working_folder() -> Path:
    """Raises `FileError` where it was deleted from under the shell."""
    try:
        return Path.cwd()
    except OSError as error:
        raise FileError("the working folder is not there any more", "cd to a folder that is there.") from error


@dataclass(frozen=True)
class Selection:
    """What the command line says about images, not yet put together with variables and the file."""

    flags: Flags

    def specs(self, everything: bool = False) -> tuple[Spec, ...]:
        """The images asked for, or all of the file, whatever a variable says; raises `ConfigurationError`."""
        from xgbpatch.config.loader import IMAGE, load

        if not everything:
            return load(self.flags, os.environ, working_folder())
        if self.flags.images:
            raise ConfigurationError("--all and --image exclude each other", "Leave one of them out.")
        return load(self.flags, {**os.environ, IMAGE.name: ""}, working_folder())

    def file(self) -> Path | None:
        """The configuration file that takes part, or None."""
        from xgbpatch.config.loader import CONFIG
        from xgbpatch.config.settings import FILE_NAME

        named = self.flags.config or os.environ.get(CONFIG.name, "").strip()
        return Path(named) if named else next(filter(Path.exists, [Path(FILE_NAME)]), None)

    def region(self) -> str | None:
        """The region that applies where no image is chosen, or None where nobody names one."""
        from xgbpatch.config.loader import region_of

        return region_of(self.flags, os.environ, working_folder())

    def regions(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the command line, each once, else the configured one; raises `ConfigurationError` without any, and
        for one that AWS does not have."""
        from xgbpatch.aws import require_region

        regions = tuple(dict.fromkeys(named)) or (self.region() or "",)
        if not all(regions):
            raise ConfigurationError("no AWS region is known", "Give --region, or set XGBPATCH_REGION or AWS_REGION.")
        for region in regions:
            require_region(region)
        return regions


def image_options(function: F) -> F:
    """Give the command every option that selects or describes images; it receives them as `selection: Selection`."""

    @wraps(function)
    def collected(**kwargs: Any) -> Any:
        flags = Flags(**{name: kwargs.pop(name) for name in _FLAG_NAMES})
        return function(selection=Selection(flags), **kwargs)

    return reduce(lambda decorated, option: option(decorated), reversed(_IMAGE_OPTIONS), cast(F, collected))


class _NoFolder(FileNotFoundError):
    """The folder of a file is missing, and the command does not make it."""


class _OutputPath(click.Path):
    """A path to write: looked at while the command line is read, before minutes of work, and written at the end. A
    default is not looked at: it may never be needed.

    Raises `ConfigurationError`, which names the option, the path and the system's reason.
    """

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not value:  # an unset variable of a shell, which would be the working folder
            self.fail("it is empty", param, ctx)
        path = Path(os.fsdecode(value))  # type: ignore[arg-type]  # what click gives: str, bytes or a path
        if ctx and param and param.name and ctx.get_parameter_source(param.name) is ParameterSource.DEFAULT:
            return path
        try:
            self.require(path)
        except OSError as error:
            argument = isinstance(param, click.Argument)
            option = "the output" if param is None else param.human_readable_name if argument else param.opts[-1]
            next_step = "Make it first." if isinstance(error, _NoFolder) else "Name another path."
            raise ConfigurationError(f'cannot write {option} "{path}": {error.strerror or error}', next_step) from error
        return path

    def require(self, path: Path) -> None:
        """Raises `OSError` where `path` cannot be written."""
        raise NotImplementedError


class OutputFile(_OutputPath):
    """A file that can be written now; nothing is written yet. With `parents` its folder may still be missing."""

    def __init__(self, parents: bool = False) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._parents = parents

    def require(self, path: Path) -> None:
        if path.is_symlink() and not path.exists():
            path = Path(os.path.realpath(path))  # writing makes what the link names
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            folder = _nearest(path.parent)
            if not self._parents and folder != path.parent.absolute():
                raise _NoFolder(None, f'there is no folder "{path.parent}"') from None
            _require_folder(folder)
            return
        if stat.S_ISREG(mode):
            os.close(os.open(path, os.O_WRONLY))
        elif stat.S_ISDIR(mode):
            raise IsADirectoryError(None, "it is a folder")
        elif not os.access(path, os.W_OK):  # a device, or a pipe that somebody may not read yet: opening does something
            raise PermissionError(None, "it must not be written")


class OutputFolder(_OutputPath):
    """A folder to write into, made where it is missing."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def require(self, path: Path) -> None:
        _require_folder(_nearest(path))


class OutputFileOrFolder(OutputFile):
    """What may be either; a folder that is there is not written into, but replaced."""

    def require(self, path: Path) -> None:
        _require_folder(path.absolute().parent) if path.is_dir() else super().require(path)


logs_option = click.option(
    "--logs", type=OutputFolder(), default=Path("xgbpatch-logs"), show_default=True,
    help="Where the container logs of failed checks are kept, one folder an image.",
)  # fmt: skip


def announce_logs(logs: Path, progress: Progress) -> None:
    """Say before the work where the logs of a failed check could not be kept: a working folder that is read-only (a
    Lambda's, say) is no reason to stop."""
    try:
        OutputFolder().require(logs)
    except OSError as error:
        progress.line(
            f'warning: the logs of failed checks cannot be kept in "{logs}": {error.strerror or error}; --logs names '
            "another folder"
        )


def write(option: str, path: Path, content: bytes) -> None:
    """Write what `option` asked for, its folder too where that is missing; raises `FileError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not path.is_file():  # /dev/stdout, or a link to what is not there yet
            path.write_bytes(content)
        else:
            _write_whole(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise FileError(f'cannot write {option} "{path}": {error.strerror or error}') from error


def _write_whole(path: Path, content: bytes) -> None:
    """A full disk leaves what was there; where the folder takes no other file, such as one of a container's mounts, the
    file itself is written."""
    from xgbpatch.util import atomic_write

    try:
        atomic_write(path, content)
    except OSError as error:
        if not path.is_file() or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        path.write_bytes(content)


def _require_folder(path: Path) -> None:
    """By a file without a name that is gone at once: permissions alone tell little to root, or of a mount."""
    import tempfile  # which every command's help would wait for

    if not stat.S_ISDIR(path.stat().st_mode):
        raise NotADirectoryError(None, f'"{path}" is no folder')
    tempfile.TemporaryFile(prefix=".xgbpatch-", dir=path).close()


def _nearest(path: Path) -> Path:
    """`path`, or the last of its parents that is there."""
    path = path.absolute()
    while True:
        try:
            path.stat()
        except FileNotFoundError:
            path = path.parent
        else:
            return path
