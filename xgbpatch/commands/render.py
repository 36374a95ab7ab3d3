"""`xgbpatch render`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import Selection, image_options, json_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.build.definition import ImageDefinition


@click.command("render")
@image_options
@json_option
@quiet_option
def command(selection: Selection, as_json: bool, quiet: bool) -> None:
    """Show the Dockerfile and every file it would add; build nothing.

    \b
    Examples:
      xgbpatch render --version 3.2-0
      xgbpatch render --version 1.5-1 --feature daal4py --json
    """
    from xgbpatch.commands import _context

    for spec in selection.specs():
        with _context.engine_builder(quiet) as builder:
            definition = builder.define(spec, _context.resolve_base(builder, spec))
        click.echo(json.dumps(document(definition), indent=2) if as_json else text(definition))


def document(definition: ImageDefinition) -> dict[str, object]:
    """What `--json` prints."""
    from xgbpatch.build import dockerfile

    return {
        "image": str(definition.reference),
        "base": str(definition.base.reference),
        "dockerfile": dockerfile.of_definition(definition),
        "files": [
            {"path": file.target, "sha256": file.sha256, "bytes": len(file.read()), "executable": file.executable}
            for file in definition.patch.files
        ],
        "environment": dict(definition.patch.environment),
    }


def text(definition: ImageDefinition) -> str:
    """The Dockerfile, then a line a file: sha256 (its first 12 digits), bytes, path."""
    from xgbpatch.build import dockerfile

    lines = [f"{file.sha256[:12]} {len(file.read()):>11} {file.target}" for file in definition.patch.files]
    total = sum(len(file.read()) for file in definition.patch.files)
    return "\n".join([dockerfile.of_definition(definition).rstrip(), "", *lines, f"{len(lines)} files, {total} bytes"])
