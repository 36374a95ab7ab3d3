"""`xgbpatch push`: a built image to ECR, in one region or many, or to any other registry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch import provenance
from xgbpatch.commands import _context, _options
from xgbpatch.commands._options import Selection, Signature
from xgbpatch.commands.versions import FALLBACK_REGION
from xgbpatch.config.settings import Flags
from xgbpatch.errors import ConfigurationError, XgbpatchError
from xgbpatch.progress import shown
from xgbpatch.reference import ImageReference

if TYPE_CHECKING:
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.progress import Progress
    from xgbpatch.publish.push import Publisher, PushRequest, PushResult
    from xgbpatch.spec import PublishTarget

_AS_BUILD = "[default: as `build` finds it]"
_AS_NAMED = "[default: that of the local name]"
_AS_CONFIGURED = "[default: the configuration's]"
_REPOSITORY_TAG = "AWS resource tag of a new repository; repeatable."
_SCAN_GATE = "Compare ECR's scans of base and image before an alias moves.  [default: yes]"
_SCAN_TIMEOUT = "Seconds to wait for both scans.  [default: 300]"
_MANIFEST_GATE = "Hold the manifest to SageMaker's demands, and repair it.  [default: yes]"


@click.command("push", short_help="Push a built image to ECR and hold it to what SageMaker accepts.")
@click.argument("image", required=False)
@_options.config_option
@click.option("--region", "regions", multiple=True, metavar="REGION", help=f"AWS region; repeatable.  {_AS_BUILD}")
@click.option("--all-regions", is_flag=True, help="Every region of the account's partition that has a base.")
@_options.target_options
@click.option("--repository", default="", metavar="NAME", help=f"Repository.  {_AS_NAMED}")
@click.option("--tag", default="", metavar="TAG", help=f"Tag, which never moves.  {_AS_NAMED}")
@click.option("--alias", "aliases", multiple=True, metavar="TAG", help=f"Tag that moves; repeatable.  {_AS_CONFIGURED}")
@click.option("--immutable", is_flag=True, help="A new repository gets immutable tags.")
@click.option("--scan-on-push/--no-scan-on-push", default=True, help="A new repository scans images.  [default: yes]")
@click.option("--kms-key", default="", metavar="KEY", help="A new repository is encrypted with this KMS key.")
@click.option("--repository-tag", "repository_tags", multiple=True, metavar="K=V", help=_REPOSITORY_TAG)
@click.option("--manifest-gate/--no-manifest-gate", default=True, help=_MANIFEST_GATE)
@click.option("--scan-gate/--no-scan-gate", default=True, help=_SCAN_GATE)
@click.option("--scan-timeout", metavar="SECONDS", type=click.FloatRange(0), default=300.0, help=_SCAN_TIMEOUT)
@_options.sign_options
@_options.json_option
@_options.quiet_option
def command(
    image: str | None, config: Path | None, regions: tuple[str, ...], all_regions: bool,
    publish_target: PublishTarget, repository: str, tag: str, aliases: tuple[str, ...], immutable: bool,
    scan_on_push: bool, kms_key: str,
    repository_tags: tuple[str, ...], manifest_gate: bool, scan_gate: bool, scan_timeout: float,
    signature: Signature, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Push IMAGE and print its name by digest.

    IMAGE is a reference or an ID; by default the image of the last `xgbpatch build` of this configuration file, or of
    this folder where there is none.

    The repository is created where it is missing. A tag that holds this very image, by its content, is left alone ("up
    to date", exit 0); one that holds another is refused. The manifest is read back and, where SageMaker would refuse
    it, repaired. For a registry outside ECR (--registry) the logins of `docker login` are used. In ECR, before an alias
    moves, the scans of the image and of its base are compared: where the patch added a finding, the image stays under
    its version tag, its name is printed, and no alias moves (exit 14). A push that moves no alias scans nothing.

    An alias moves without a test (`xgbpatch promote` tests first); what it named before stays known as TAG.previous,
    for `xgbpatch rollback`. Those of the configuration move for the image that it asks for as it stands, and for no
    other: it was built and verified here, or its layers in the registry are compared with its labels, which whatever is
    built on it inherits. Those of --alias move to whatever is pushed.

    \b
    Examples:
      xgbpatch push
      xgbpatch push --region us-west-2 --region eu-west-1 --alias latest-patched
      xgbpatch push xgbpatch/sagemaker-xgboost:3.2-0-0123456789ab-89abcdef --immutable --kms-key alias/ecr
      xgbpatch push --all-regions --account 123456789012 --json
      xgbpatch push --registry registry.example.com:5000
      xgbpatch push --sign --sign-key awskms:///alias/images
    """
    from xgbpatch.aws import RepositoryOptions
    from xgbpatch.engine.client import Engine
    from xgbpatch.publish import attachments
    from xgbpatch.publish import scan_gate as scan_gate_of
    from xgbpatch.publish.push import Publisher, PushRequest

    # outside ECR no region counts, and the images of the file are read with any
    region = FALLBACK_REGION if publish_target.registry else next(iter(regions), None)
    selection = Selection(Flags(config=config, region=region))
    if publish_target.registry and (regions or all_regions):
        raise ConfigurationError("--registry is for a registry outside ECR", "Leave out the regions.")
    if all_regions and regions:
        raise ConfigurationError("--all-regions and --region exclude each other", "Leave one of them out.")
    signer = signature.signer()
    options = RepositoryOptions(scan_on_push, immutable, kms_key, tuple(_pair(text) for text in repository_tags))
    with Engine.connect() as engine, shown(quiet) as progress:
        if image is None:
            local, image = _context.last_build(engine, selection, progress)
        else:
            local = engine.require_image(image)
        name = _name(local, image, repository, tag)
        configured = () if aliases else _configured_aliases(selection, local, progress)
        aliases = aliases or configured
        moving = tuple(_parsed(name, alias).tag for alias in aliases)
        if immutable and moving:
            raise ConfigurationError(
                f'the alias "{moving[0]}" could not move in a repository with --immutable tags',
                "Leave one of them out.",
            )
        places = _destinations(name, publish_target, selection, regions, all_regions)
        requests = [PushRequest(local, place, moving, options, manifest_gate, bool(configured)) for place in places]
        services = _context.connect_services(progress)
        gate = (
            partial(scan_gate_of.gate, services, patience=scan_gate_of.ScanTimeout(scan_timeout)) if scan_gate else None
        )
        pushed, failures = _push_each(Publisher(engine, services, gate), requests, as_json=as_json)
        if signer:
            for result in pushed:
                attachments.sign(signer, result.reference, services.registry.credentials_for)
                progress.line(f'signed "{result.reference.pinned}"')
    _context.raise_together({str(place): error for place, error in failures.items()}, len(requests), "pushes failed")


def _push_each(
    publisher: Publisher, requests: Sequence[PushRequest], *, as_json: bool
) -> tuple[list[PushResult], dict[ImageReference, XgbpatchError]]:
    """What stands, and by destination what failed, which does not stop the others. What stands is printed here, for it
    has to be known whatever becomes of its aliases, of a later image and of cosign."""
    pushed: list[PushResult] = []
    failures: dict[ImageReference, XgbpatchError] = {}
    try:
        for request in requests:
            try:
                pushed.append(publisher.publish(request))
                if not as_json:
                    click.echo(str(pushed[-1].reference.pinned))
                pushed[-1] = publisher.move_aliases(request, pushed[-1])
            except XgbpatchError as error:
                failures[request.destination] = error
    finally:
        if as_json and (pushed or failures):
            click.echo(json.dumps(_document(requests[0].image, pushed, failures), indent=2))
    return pushed, failures


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigurationError(f'--repository-tag "{text}" is not KEY=VALUE')
    return key, value


def _names(image: LocalImage) -> list[ImageReference]:
    return [ImageReference.parse(name) for name in image.tags if not name.startswith("<none>")]


def _name(image: LocalImage, local_name: str | None, repository: str, tag: str) -> ImageReference:
    """Repository and tag: the flags', else those of the local name that was asked for, else of the first plain one."""
    names = _names(image)
    chosen = [name for name in names if str(name) == local_name] + [name for name in names if not name.host] + names
    if not chosen:
        raise ConfigurationError(
            f'image "{image.id}" has no name in the engine', f"docker tag {image.id[7:19]} NAME:TAG"
        )
    return _parsed(replace(chosen[0], host="", repository=repository or chosen[0].repository), tag or chosen[0].tag)


def _parsed(name: ImageReference, tag: str) -> ImageReference:
    return ImageReference.parse(f"{name.repository}:{tag}")


def _configured_aliases(selection: Selection, image: LocalImage, progress: Progress) -> tuple[str, ...]:
    """Those of the configured image that this one was built for, where it is what the configuration still asks for."""
    from xgbpatch.build.definition import asked_digest

    origin = provenance.read(image.labels)
    if origin is None or not origin.base_name:
        return ()
    if selection.file():
        specs = selection.specs()
    else:  # variables alone: what a build of this version on this base would be given
        specs = Selection(replace(selection.flags, version=origin.version, base_image=origin.base_name)).specs()
    repositories = {name.repository for name in _names(image)}
    for spec in specs:
        if spec.aliases and spec.name == origin.image and spec.repository in repositories:
            if asked_digest(spec) == origin.asked_digest:
                return spec.aliases
            progress.line(f'no alias moves: the configuration asks for another image "{spec.name}" than this one')
    return ()


def _destinations(
    name: ImageReference, target: PublishTarget, selection: Selection, regions: tuple[str, ...], all_regions: bool
) -> list[ImageReference]:
    from xgbpatch import catalogue
    from xgbpatch.aws import AwsRegion, partition
    from xgbpatch.publish.push import ecr_destination

    if target.registry:
        return [ImageReference.parse(f"{target.registry}/{name}")]
    regions, account = selection.regions(regions), target.account
    if all_regions or not account:
        identity = AwsRegion(regions[0]).identity()
        account = account or identity.account
        if all_regions:
            regions = tuple(region for region in catalogue.regions() if partition(region) == identity.partition)
    return [ecr_destination(account, region, name) for region in regions]


def _document(
    image: LocalImage, pushed: Sequence[PushResult], failures: Mapping[ImageReference, XgbpatchError]
) -> dict[str, Any]:
    """An image that stands, and whose alias could not move, is in both lists."""
    return {
        "image": image.id,
        "pushed": [
            {
                "reference": str(result.reference.pinned),
                "tag": result.reference.tag,
                "region": _region(result.reference),
                "aliases": [alias.tag for alias in result.aliases],
                "up_to_date": result.up_to_date,
                "repaired": result.repaired,
            }
            for result in pushed
        ],
        "failed": [
            {"destination": str(place), "region": _region(place), **_context.error_document(error)}
            for place, error in failures.items()
        ],
    }


def _region(place: ImageReference) -> str | None:
    return place.ecr.region if place.ecr else None
