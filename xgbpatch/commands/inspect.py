"""`xgbpatch inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import Selection, image_options, json_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.inspection.facts import Facts
    from xgbpatch.provenance import Provenance


@click.command("inspect")
@click.argument("image", required=False, metavar="[IMAGE]")
@image_options
@json_option
@quiet_option
def command(image: str | None, selection: Selection, as_json: bool, quiet: bool) -> None:
    """Show what an image holds, seen by running it once; of a patched image also how it was made.

    IMAGE is a name, a digest or an ID that the engine holds; without it, the base that the options name is inspected
    (and pulled when needed).

    \b
    Examples:
      xgbpatch inspect --version 1.5-1
      xgbpatch inspect xgbpatch/sagemaker-xgboost:1.5-1-0123456789ab-01234567 --json
    """
    from xgbpatch import provenance
    from xgbpatch.commands import _context
    from xgbpatch.inspection import container

    with _context.engine_builder(quiet) as builder:
        for local in _images(builder, image, selection):
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
        ("pip check", "no pip" if facts.complaints is None else f"{len(facts.complaints)} complaints"),
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
    return "\n".join(f"{name:<17} {value}" for name, value in rows)


def _images(builder: EngineBuilder, image: str | None, selection: Selection) -> list[LocalImage]:
    from xgbpatch.commands._context import resolve_base
    from xgbpatch.errors import EngineError

    if image is None:
        return [builder.pull(resolve_base(builder, spec)) for spec in selection.specs()]
    local = builder.engine.image(image)
    if local is None:
        raise EngineError(f'the engine holds no image "{image}"', "Pull it, or inspect a base by --version.")
    return [local]
