"""`xgbpatch inspect`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import Selection, image_options, json_option, quiet_option
from xgbpatch.util import labelled

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.inspection.facts import Facts
    from xgbpatch.inspection.model_archive import ModelArchive
    from xgbpatch.provenance import Provenance
    from xgbpatch.spec import Spec


@click.command("inspect")
@click.argument("image", required=False, metavar="[IMAGE]")
@image_options
@json_option
@quiet_option
def command(image: str | None, selection: Selection, as_json: bool, quiet: bool) -> None:
    """Show what an image holds, seen by running it once; of a patched image also how it was made.

    IMAGE is a name, a digest or an ID that the engine holds; without it, the base that the options name is inspected
    (and pulled when needed). A file .tar.gz, .tgz or .tar, or a path that begins with / or ., is a model: what the
    feature training left beside it is shown, without an engine.

    \b
    Examples:
      xgbpatch inspect --version 3.2-0
      xgbpatch inspect xgbpatch/sagemaker-xgboost:1.5-1-0123456789ab-01234567 --json
      xgbpatch inspect model.tar.gz
    """
    if image and (image.startswith(("/", ".")) or image.endswith((".tar.gz", ".tgz", ".tar"))):
        from xgbpatch.inspection import model_archive

        model = model_archive.read(Path(image))
        click.echo(json.dumps(model_document(model), indent=2) if as_json else model_text(model))
        return
    from xgbpatch import provenance
    from xgbpatch.commands import _context
    from xgbpatch.inspection import container

    specs = selection.specs() if image is None else ()
    with _context.engine_builder(quiet) as builder:
        for local in _images(builder, image, specs):
            facts = container.inspect(builder.engine, local, builder.cache / "facts")
            labels = provenance.read(local.labels)
            click.echo(json.dumps(document(facts, labels), indent=2) if as_json else text(facts, labels))


def document(facts: Facts, provenance: Provenance | None) -> dict[str, object]:
    """What `--json` prints: the facts, and `provenance` (null for an image that xgbpatch did not make)."""
    from dataclasses import asdict

    from xgbpatch.inspection import container

    return {**container.as_document(facts), "provenance": asdict(provenance) if provenance else None}


def text(facts: Facts, provenance: Provenance | None) -> str:
    """A page for people."""
    rows = [
        ("image", facts.digest),
        ("Python", f"{facts.python.version} ({facts.python.executable}, glibc {facts.python.glibc or 'unknown'})"),
        ("site-packages", facts.python.site_packages),
        ("xgboost", facts.xgboost),
        ("distributions", str(len(facts.distributions))),
        ("official modules", str(len(facts.modules))),
        ("serve", facts.commands["serve"]),
        ("train", facts.commands["train"]),
        ("pip check", _pip_check(facts.complaints)),
    ]
    rows += [("made by xgbpatch", provenance.tool_version if provenance else "no")]
    if provenance:
        rows += [
            ("version", provenance.version),
            ("base", f"{provenance.base_name}@{provenance.base_digest}"),
            ("features", ", ".join(provenance.features) or "none"),
            ("fixes", ", ".join(provenance.fixes) or "none"),
            ("packages", ", ".join(provenance.packages) or "none"),
            ("spec", provenance.spec_digest),
            ("patch", provenance.patch_digest),
            ("created", provenance.created),
        ]
    return labelled(rows)


def model_document(model: ModelArchive) -> dict[str, Any]:
    """What `--json` prints of a model; null is what was not left beside it. `background` is (rows, features)."""
    from xgbpatch.contract.payloads import npy_shape
    from xgbpatch.errors import ConfigurationError

    rows = model.beside.get("background.npy")
    try:
        background = None if rows is None else npy_shape(rows)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f'"background.npy" of the model is no array of float32: {error}') from error
    kinds = {"record": dict, "feature_names": list, "importance": dict}
    documents = {name: model.document(f"{name}.json", kind) for name, kind in kinds.items()}
    return {"models": model.models, "files": sorted(model.beside), **documents, "background": background}


def model_text(model: ModelArchive) -> str:
    """A page for people."""
    about = model_document(model)
    record, names, background = about["record"] or {}, about["feature_names"], about["background"]
    models = ", ".join(f"{name} ({size} bytes)" for name, size in model.models.items())
    rows = [
        ("models", models or "none at the top"),
        ("beside them", ", ".join(about["files"]) or "nothing of the feature training"),
        *((name, str(record.get(name))) for name in ("xgboost", "base", "objective", "features", "rounds") if record),
        *([("names", ", ".join(map(str, names)))] if names else ()),
        *([("background", " x ".join(map(str, background)))] if background else ()),
        *([("importance", _strongest(about["importance"]))] if about["importance"] else ()),
    ]
    return labelled(rows)


def _strongest(importance: dict[str, Any]) -> str:
    from xgbpatch.errors import ConfigurationError

    try:
        features = ", ".join(f"{row['name']} {row['importance']:.3g}" for row in importance["features"][:5])
        return f"{features} ({importance['rows']} rows of {importance['split']})"
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f'"importance.json" of the model is not what training writes: {error!r}') from error


def _pip_check(complaints: Sequence[str] | None) -> str:
    if complaints is None:
        return "the image has no pip"
    return "; ".join(complaints) or "no broken requirements"


def _images(builder: EngineBuilder, image: str | None, specs: Sequence[Spec]) -> list[LocalImage]:
    from xgbpatch.commands._context import resolve_base

    if image is None:
        return [builder.pull(resolve_base(builder, spec)) for spec in specs]
    return [builder.engine.require_image(image)]
