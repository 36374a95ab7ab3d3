"""`xgbpatch build`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from xgbpatch.commands.options import Selection, image_options, json_option, quiet_option
from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference

if TYPE_CHECKING:
    from xgbpatch.building import Built, Rendered


@click.command("build")
@image_options
@click.option("--tag", "-t", "names", multiple=True, metavar="NAME:TAG", help="A further local name; repeatable.")
@click.option("--no-cache", is_flag=True, help="Build every step anew, even when the image is up to date.")
@json_option
@quiet_option
def command(selection: Selection, names: tuple[str, ...], no_cache: bool, as_json: bool, quiet: bool) -> None:
    """Build the patched image; prints its reference.

    Resolves the official image for a version, pins it by digest, looks inside, and adds one folder, /opt/xgbpatch. The
    image is verified before it gets its name: no file, variable, label or package of the base may differ unasked. An
    image that is up to date is not built again.

    \b
    Examples:
      xgbpatch build --version 1.5-1
      xgbpatch build --version 3.2-0 --feature shap,daal4py
      xgbpatch build --version 3.2-0 --fix libsvm-skew,ensemble-vote
      xgbpatch build --version 3.2-0 --file my_preprocessing.py --package 'category_encoders<3'
      xgbpatch build --version 1.5-1 --tag fraud-base:candidate --no-cache
      xgbpatch build --config xgbpatch.toml --image fraud --json
    """
    from xgbpatch import building
    from xgbpatch.commands import workshop
    from xgbpatch.commands.stages import resolved

    wanted = further_names(names)
    for spec in selection.specs():
        with workshop.opened(quiet) as shop:
            rendered = building.render(shop, spec, resolved(shop, spec))
            built = building.build(shop, rendered, no_cache)
            for name in wanted:
                shop.engine.tag(built.image.id, name)
            shop.progress.line("up to date" if built.up_to_date else "built")
        click.echo(json.dumps(document(built, rendered), indent=2) if as_json else str(built.reference))


def further_names(names: tuple[str, ...]) -> list[ImageReference]:
    """The values of `--tag`, checked before anything is built; a name without a tag means `latest`, as in docker."""
    wanted = [ImageReference.parse(name) for name in names]
    for name in wanted:
        if name.digest:
            raise ConfigurationError(f'"{name}" cannot be given to an image: it holds a digest', "Write name:tag.")
    return [name if name.tag else name.with_tag("latest") for name in wanted]


def document(built: Built, rendered: Rendered) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "image": str(built.reference),
        "id": built.image.id,
        "base": str(rendered.base.reference),
        "up_to_date": built.up_to_date,
        "features": list(rendered.provenance.features),
        "fixes": list(rendered.provenance.fixes),
        "packages": list(rendered.provenance.packages),
        "spec_digest": rendered.provenance.spec_digest,
        "patch_digest": rendered.provenance.patch_digest,
        "added_bytes": built.image.size - rendered.base_image.size,
    }
