"""`xgbpatch build`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xgbpatch.commands import _context, _options
from xgbpatch.commands._options import Selection, Signature
from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import PublishTarget

if TYPE_CHECKING:
    from xgbpatch.build.definition import ImageDefinition
    from xgbpatch.progress import Progress
    from xgbpatch.provenance import Provenance
    from xgbpatch.publish.attachments import Attachments
    from xgbpatch.spec import Spec

_Results = Iterator[tuple[ImageReference, dict[str, object]]]  # each image as it is built, with its document
_ATTACH = "Attach the CycloneDX document of what the patch adds, with --builder registry.  [default: yes]"
_SBOM = "Also write what the patch adds, as a CycloneDX document, to this file."


@click.command("build", short_help="Build the patched image, with the engine or straight into a registry.")
@_options.image_options
@_options.builder_option
@_options.target_options
@click.option("--tag", "-t", "names", multiple=True, metavar="NAME:TAG", help="A further local name; repeatable.")
@click.option("--no-cache", is_flag=True, help="Build every step anew, even when the image is up to date.")
@_options.sign_options
@click.option("--attach-sbom/--no-attach-sbom", default=True, help=_ATTACH)
@click.option("--sbom", type=_options.OutputFile(), help=_SBOM)
@_options.json_option
@_options.quiet_option
def command(
    selection: Selection, builder: str, publish_target: PublishTarget, names: tuple[str, ...], no_cache: bool,
    sbom: Path | None, attach_sbom: bool, signature: Signature, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Build the patched image; prints its reference.

    Resolves the official image for a version, pins it by digest, looks inside, and adds one folder, /opt/xgbpatch. The
    image is verified before it gets its name: no file, variable, label or package of the base may differ unasked. An
    image that is up to date is not built again. `test-local` and `push` without IMAGE mean the image that was built
    last with this configuration file, or in this folder where there is none.

    `--builder registry` needs no engine and pulls nothing: it reads the base in its registry and puts the image
    straight into yours (your ECR, or --registry), under its version tag; prints its name by digest.

    The document of --json is that of the image; of several images its `images` lists theirs, up to one that failed.

    \b
    Examples:
      xgbpatch build --version 1.5-1
      xgbpatch build --version 3.2-0 --feature shap,daal4py
      xgbpatch build --version 3.2-0 --fix libsvm-skew,ensemble-vote
      xgbpatch build --version 3.2-0 --file my_preprocessing.py --package 'category_encoders<3'
      xgbpatch build --version 1.5-1 --tag fraud-base:candidate --no-cache
      xgbpatch build --config xgbpatch.toml --image fraud --json
      xgbpatch build --version 3.2-0 --feature shap --builder registry
    """
    specs = selection.specs()
    if sbom and len(specs) > 1:
        raise ConfigurationError("--sbom names one file, and several images are built", "Choose one with --image.")
    if builder == "registry":
        from xgbpatch.publish.attachments import Attachments

        attachments = Attachments(attach_sbom, signature.signer())
        if names or no_cache:
            raise ConfigurationError("--tag and --no-cache are for --builder docker", "The image is not in the engine.")
        results = _into_registry(specs, publish_target, attachments, quiet=quiet, sbom=sbom)
    else:
        if signature != Signature():
            raise ConfigurationError("--sign is for an image in a registry", "`xgbpatch push` takes it.")
        if publish_target != PublishTarget():
            raise ConfigurationError(
                "--registry and --account are for --builder registry", "`xgbpatch push` takes both."
            )
        results = _with_engine(specs, further_names(names), no_cache=no_cache, quiet=quiet, sbom=sbom)
    documents: list[dict[str, object]] = []
    try:
        for reference, document in results:
            documents.append(document)
            local = [] if builder == "registry" else documents  # then there is none that `push` could mean
            _context.remember_build(
                selection, [_context.BuiltImage(str(one["image"]), str(one["id"])) for one in local]
            )
            if not as_json:
                click.echo(str(reference))
    finally:  # also where a later image fails: what stands stays known
        if as_json and documents:
            click.echo(json.dumps({"images": documents} if len(specs) > 1 else documents[0], indent=2))


def _with_engine(
    specs: tuple[Spec, ...], names: list[ImageReference], *, no_cache: bool, quiet: bool, sbom: Path | None
) -> _Results:
    from xgbpatch.commands import _context

    for spec in specs:
        with _context.engine_builder(quiet, no_cache) as builder:
            definition = builder.define(spec, _context.resolve_base(builder, spec))
            previous = builder.previous(spec, definition.reference)
            result = builder.build(definition, definition.reference)
            for name in names:
                builder.engine.tag(result.image.id, name)
            builder.progress.line("up to date" if result.up_to_date else "built")
            _tell_border(builder.progress, spec, None if result.up_to_date else previous)
            base = builder.pull(definition.base)
        _write_sbom(sbom, definition)
        yield (
            result.reference,
            {
                "image": str(result.reference),
                "id": result.image.id,
                "up_to_date": result.up_to_date,
                **_definition_document(definition),
                "added_bytes": result.image.size - base.size,
            },
        )


def _tell_border(progress: Progress, spec: Spec, previous: Provenance | None) -> None:
    """Where `spec` moves from an image whose models no longer load."""
    from xgbpatch import catalogue

    before = catalogue.xgboost_of(previous.version, previous) if previous else None
    now = catalogue.xgboost_of(spec.version, None)
    if before and now and before != now:
        from xgbpatch.inspection import model_file

        words = model_file.border(spec.version, before, now)
        if words:
            progress.line(f"warning: {words}")


def _into_registry(
    specs: tuple[Spec, ...], publish_target: PublishTarget, options: Attachments, *, quiet: bool, sbom: Path | None
) -> _Results:
    from xgbpatch.aws import RepositoryOptions
    from xgbpatch.build.registry import RegistryBuilder
    from xgbpatch.build.resolve import resolve
    from xgbpatch.commands import _context
    from xgbpatch.publish import attachments, destination_of, ensure_repository
    from xgbpatch.upkeep import published

    for spec in specs:
        with _context.services(quiet) as services:
            builder = RegistryBuilder(services)
            base = resolve(spec, services.registry)
            services.progress.line(f"Base: {base.reference}")
            definition = builder.define(spec, base)
            name = destination_of(spec, publish_target).with_tag(definition.reference.tag)
            ensure_repository(name, RepositoryOptions())
            newest = published.newest(services.registry, name, spec, base)
            result = builder.build(definition, name)
            services.progress.line("up to date" if result.up_to_date else "built")
            _tell_border(services.progress, spec, newest.provenance if newest else None)
            yield (  # now: the image stands, whatever becomes of what is attached to it
                result.reference,
                {
                    "image": str(result.reference),
                    "digest": result.reference.digest,
                    "up_to_date": result.up_to_date,
                    **_definition_document(definition),
                    **asdict(result.traffic),  # `sent` and `received`: bytes of blobs
                },
            )
            attachments.attach_all(services, result.reference, definition, options)
        _write_sbom(sbom, definition)


def _write_sbom(path: Path | None, definition: ImageDefinition) -> None:
    if path is not None:
        from xgbpatch.publish import sbom

        _options.write("--sbom", path, sbom.document(definition))


def further_names(names: tuple[str, ...]) -> list[ImageReference]:
    """The values of `--tag`, checked before anything is built; a name without a tag means `latest`, as in docker."""
    references = [ImageReference.parse(name) for name in names]
    for name in references:
        if name.digest:
            raise ConfigurationError(f'"{name}" cannot be given to an image: it holds a digest', "Write name:tag.")
    return [name if name.tag else name.with_tag("latest") for name in references]


def _definition_document(definition: ImageDefinition) -> dict[str, object]:
    return {
        "base": str(definition.base.reference),
        "features": list(definition.provenance.features),
        "fixes": list(definition.provenance.fixes),
        "packages": list(definition.provenance.packages),
        "spec_digest": definition.provenance.spec_digest,
        "patch_digest": definition.provenance.patch_digest,
    }
