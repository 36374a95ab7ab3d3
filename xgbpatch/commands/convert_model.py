"""`xgbpatch convert-model`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from xgbpatch.commands import _context
from xgbpatch.commands._options import OutputFileOrFolder, Selection, json_option, quiet_option, region_option
from xgbpatch.errors import ConfigurationError

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.conversion import ConvertedModel
    from xgbpatch.conversion.source import Model, Source
    from xgbpatch.conversion.xgboosts import Release, Xgboost
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.progress import Progress

_NEWEST_READER = "1.7.4"  # of binary files and old pickles: newer ones refuse some of them
_TO = 'Format of OUT.  [default: "ubj" where OUT ends with .ubj, else "json"]'
_WITH = "The xgboost that reads IN: its version, or that of an image.  [default: by what IN says, see below]"
_FOR = "The xgboost that is to read OUT.  [default: the newest image's]"
_IMAGE = "Read IN in a container of this image, which the engine holds, instead of an environment."
_BEST = "Keep the best rounds alone, where training stopped early; servers of 3.x would predict with all."
_UNPICKLE = "Open pickles, which runs the code in them, in a sealed container."


@click.command("convert-model", short_help="Write a model as JSON or UBJSON, proved to predict the same.")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=OutputFileOrFolder())
@click.option("--to", type=click.Choice(["json", "ubj"]), help=_TO)
@click.option("--with", "reader", default="", metavar="VERSION", help=_WITH)
@click.option("--for", "target", default="", metavar="VERSION", help=_FOR)
@click.option("--image", default="", metavar="IMAGE", help=_IMAGE)
@click.option("--best-rounds", is_flag=True, help=_BEST)
@click.option("--unpickle", is_flag=True, help=_UNPICKLE)
@region_option
@click.option("--force", is_flag=True, help="Replace OUT where it is there.")
@json_option
@quiet_option
def command(
    source: Path, out: Path, to: Literal["json", "ubj"] | None, reader: str, target: str, image: str,
    best_rounds: bool, unpickle: bool, region: str | None, force: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write a model that newer xgboosts no longer read (the old binary format, old pickles), or any other, as JSON or
    UBJSON. Prints OUT.

    IN is a model file, a model folder or a model.tar.gz. Of the latter two every model at the top is converted, what
    else they hold is kept as it is, and OUT is of the same kind.

    An xgboost of the right age reads IN: the oldest of the images' that is not older than the one that wrote it, as the
    file says; where it says nothing, 1.7.4. It comes from the package index, once, into the cache (xgbpatch cache). The
    same rows, made of the model's thresholds so that they reach its leaves, are then predicted by both xgboosts, and
    OUT is written where the predictions are equal, bit for bit, and names, types and attributes are there. Else nothing
    is written, and the exit code is 18.

    A pickle is opened with --unpickle alone: its code runs in a container without network, capabilities or a disk to
    write to, of the official image of that version, or of --image.

    \b
    Examples:
      xgbpatch convert-model xgboost-model model.json
      xgbpatch convert-model model.tar.gz converted.tar.gz --to ubj
      xgbpatch convert-model model.pkl model.json --unpickle --with 1.5-1 --region us-west-2
      xgbpatch convert-model xgboost-model model.ubj --image my/sagemaker-xgboost:1.5-1 --json
    """
    from xgbpatch import progress
    from xgbpatch.conversion import converted_name, xgboosts
    from xgbpatch.conversion import source as sources

    if reader and image:
        raise ConfigurationError("--with and --image exclude each other", "The image holds one xgboost.")
    sources.require_writable(out, force)
    to = to or ("ubj" if out.suffix == ".ubj" else "json")
    chosen = xgboosts.release(reader) if reader else None
    readers_target = xgboosts.release(target) if target else xgboosts.releases()[-1]
    with sources.opened(source) as opened, progress.shown(quiet) as shown:
        require_same_kind(opened, out)
        _refuse_pickles(opened, unpickle)
        proving = xgboosts.Environment.provide(readers_target, _context.cache_folder(), shown)
        converted = []
        for model in opened.models:
            release = chosen or xgboosts.reader_of(model.file.xgboost, _NEWEST_READER)
            with _reader(model, release, image, region, shown) as reading:
                name = out.name if source.is_file() and not opened.is_archive else converted_name(model.name, to)
                converted.append(_converted(model, name, to, best_rounds, reading, proving, shown))
        names = [each.name for each in converted]
        if len(set(names)) < len(names):
            raise ConfigurationError(f'two models of "{source}" would have one name: {", ".join(names)}', "Rename one.")
        sources.write(opened, out, {each.model.name: (each.name, each.content) for each in converted}, force)
    click.echo(json.dumps(document(out, to, converted), indent=2) if as_json else str(out))


def require_same_kind(source: Source, out: Path) -> None:
    """Raises `ConfigurationError` where `out` has the suffix of what is not written."""
    packed = out.name.endswith((".tar.gz", ".tgz", ".tar"))
    if source.is_archive and out.suffix in (".json", ".ubj", ".ubjson"):
        raise ConfigurationError(f'"{source.path}" is an archive, and so is what is written: "{out}" names a model',
                                 "Name a .tar.gz, or unpack the model first.")  # fmt: skip
    if packed and not source.is_archive:
        raise ConfigurationError(f'"{source.path}" is no archive, and neither is what is written: "{out}" names one',
                                 "Name a model file or a folder, and pack that: tar czf model.tar.gz …")  # fmt: skip


def document(out: Path, to: str, converted: list[ConvertedModel]) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "out": str(out),
        "to": to,
        "models": [
            {
                "name": each.model.name, "new_name": each.name, "format": each.model.file.format.value,
                "written_by": str(each.model.file.xgboost) if each.model.file.xgboost else None,
                "read_by": each.read_by, "proved_by": each.proved_by, "rows": each.rows, "leaves": each.leaves,
                "reached": each.reached, "thresholds": each.thresholds, "notes": list(each.notes),
            }
            for each in converted
        ],
    }  # fmt: skip


def _refuse_pickles(source: Source, unpickle: bool) -> None:
    from xgbpatch.inspection.model_file import Format

    pickles = [model.name for model in source.models if model.file.format is Format.PICKLE]
    if pickles and not unpickle:
        raise ConfigurationError(
            f'"{", ".join(pickles)}" is a pickle, and opening one runs whatever code is in it',
            "Where you trust its maker, give --unpickle: it is then opened in a container of the official image of its "
            "version, or of --image, without network and without a disk to write to.",
        )


def _converted(
    model: Model, name: str, to: Literal["json", "ubj"], best: bool, reading: Xgboost, proving: Xgboost, shown: Progress
) -> ConvertedModel:
    from xgbpatch.conversion import convert

    wrote = f", written by xgboost {model.file.xgboost}" if model.file.xgboost else ""
    shown.line(f"Reading {model.name}: {model.file.format.title}{wrote}")
    with tempfile.TemporaryDirectory(prefix="xgbpatch-convert-") as folder:
        converted = convert(model, name, to, reader=reading, target=proving, folder=Path(folder), best=best)
    shown.line(
        f"{model.name}: xgboost {converted.read_by} and {converted.proved_by} predict the same, bit for bit, "
        f"on {converted.rows} rows made of {converted.thresholds} thresholds, "
        f"which reach {converted.reached} of {converted.leaves} leaves"
    )
    for note in converted.notes:
        shown.line(f"{model.name}: note: {note}")
    return converted


@contextmanager
def _reader(model: Model, release: Release, image: str, region: str | None, shown: Progress) -> Iterator[Xgboost]:
    """Where the model is read: a container for a pickle and where an image is named, else an environment."""
    from xgbpatch.conversion import xgboosts
    from xgbpatch.inspection.model_file import Format

    if model.file.format is not Format.PICKLE and not image:
        yield xgboosts.Environment.provide(release, _context.cache_folder(), shown)
        return
    with _context.connected_builder(shown) as builder:
        local = builder.engine.require_image(image) if image else _official(builder, release, region)
        yield xgboosts.Sealed(builder.engine, local.id, image or (*local.tags, local.id)[0])


def _official(builder: EngineBuilder, release: Release, region: str | None) -> LocalImage:
    """The newest official image that holds that xgboost; pulled where the engine does not hold it."""
    from xgbpatch.config.settings import Flags
    from xgbpatch.spec import Spec
    from xgbpatch.util import load_data

    version = [name for name, row in load_data("versions.toml").items() if row["xgboost"] == release.version][-1]
    (region_name,) = Selection(Flags(region=region)).regions(())
    return builder.pull(_context.resolve_base(builder, Spec(version, region_name)))
