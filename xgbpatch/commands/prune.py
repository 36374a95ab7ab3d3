"""`xgbpatch prune`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands import _context, _options
from xgbpatch.commands._options import Selection
from xgbpatch.config.settings import Flags
from xgbpatch.errors import AwsError, RegistryError
from xgbpatch.progress import shown
from xgbpatch.reference import ImageReference
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.oci.image import RemoteImage
    from xgbpatch.registry import Services
    from xgbpatch.spec import PublishTarget, Spec
    from xgbpatch.upkeep.prune import PruneVerdict, Rules

_DAYS = "Delete nothing that was pushed in the last DAYS days."


@dataclass(frozen=True)
class _Pruned:
    """One repository: its verdicts, the bytes that the deletion frees, and, where it was applied, why each digest is
    still there (empty: it is gone)."""

    name: str
    verdicts: tuple[PruneVerdict, ...]
    freed: int
    failures: dict[str, str] | None


@click.command("prune", short_help="Delete superseded images that no alias, model, endpoint or job uses.")
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY]...")
@_options.config_option
@_options.regions_option
@_options.target_options
@click.option("--keep", metavar="N", type=click.IntRange(1), default=3, show_default=True, help="Newest to keep.")
@click.option("--older-than", metavar="DAYS", type=click.FloatRange(0), default=None, help=_DAYS)
@click.option("--apply", "applied", is_flag=True, help="Delete. Without it, only say what would be deleted.")
@_options.json_option
@_options.quiet_option
def command(
    repositories: tuple[str, ...], config: Path | None, regions: tuple[str, ...], publish_target: PublishTarget,
    keep: int, older_than: float | None, applied: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Say which images of each REPOSITORY (default: the configuration's) can go, and with --apply delete them.

    An image goes only when its content proves that xgbpatch made it, at least N newer ones of the same name, version
    and architecture, proved likewise, stand in the repository, no tag but its version tag names it, and no model,
    endpoint, model package, running job or pipeline of the account needs it. What belongs to an image (SBOM, signature)
    goes with it. Where SageMaker cannot be asked, nothing is deleted.

    \b
    Examples:
      xgbpatch prune
      xgbpatch prune --keep 5 --older-than 30 --apply
      xgbpatch prune team/fraud --region us-west-2 --region eu-west-1 --json
      xgbpatch prune team/fraud --registry registry.example.com:5000 --region us-west-2
    """
    from xgbpatch.upkeep.prune import Rules

    regions = Selection(Flags(config=config)).regions(regions)
    selections = [Selection(Flags(config=config, region=region)) for region in regions]
    specs = [spec for selection in selections if selection.file() for spec in selection.specs()]
    moment = None if older_than is None else datetime.now(timezone.utc) - timedelta(days=older_than)
    rules = Rules(keep, moment, tuple(spec.tag for spec in specs))
    with shown(quiet) as progress:
        places = _repositories(repositories, specs, regions, publish_target)
        services = _context.connect_services(progress)
        pruned = _prune(places, rules, services=services, regions=regions, applied=applied)
    document = {"repositories": [_document(one) for one in pruned]}
    click.echo(json.dumps(document, indent=2) if as_json else _text(pruned))
    failed = [(digest, why) for one in pruned for digest, why in (one.failures or {}).items() if why]
    if failed:
        digest, why = failed[0]
        raise RegistryError(
            f'{len(failed)} were not deleted; the first, "{digest}": {why}',
            "Run the same command again.",
        )


def _repositories(
    names: Sequence[str], specs: Sequence[Spec], regions: Sequence[str], publish_target: PublishTarget
) -> list[ImageReference]:
    """Host and repository of each, once. A name with a host is taken as it is; ECR's dual-stack host becomes the one
    that every region has."""
    from xgbpatch.aws import AwsRegion
    from xgbpatch.publish import destination_of
    from xgbpatch.spec import DEFAULT_REPOSITORY, Spec

    named = [ImageReference.parse(name) for name in names]
    places = [name for name in named if name.host]
    plain = [name.repository for name in named if not name.host] or ([] if names or specs else [DEFAULT_REPOSITORY])
    own = [Spec(version="", region=region, repository=name) for region in regions for name in plain]
    places += [destination_of(spec, publish_target) for spec in (own if names else [*own, *specs])]
    for index, place in enumerate(places):
        ecr = place.ecr if ".dkr-ecr" in place.host else None
        host = AwsRegion(ecr.region).registry_host(ecr.account) if ecr else place.host
        places[index] = ImageReference(host, place.repository)
    return list(dict.fromkeys(places))


def _prune(
    places: Sequence[ImageReference], rules: Rules, *, services: Services, regions: Sequence[str], applied: bool
) -> list[_Pruned]:  # fmt: skip
    """Who uses what is asked before anything is deleted anywhere; and again for each repository, right before its
    deletion: reading it may have taken minutes."""
    from xgbpatch.aws import AwsRegion
    from xgbpatch.aws.sagemaker import SageMaker
    from xgbpatch.build import ownership
    from xgbpatch.upkeep import prune
    from xgbpatch.upkeep.repository import list_repository, repository

    for place in places:
        if place.ecr and (own := AwsRegion(place.ecr.region).identity().account) != place.ecr.account:
            raise AwsError(  # whose models and endpoints cannot be seen
                f'it cannot be told what account "{place.ecr.account}" uses of "{place.name}"',
                f'These are credentials of account "{own}": prune with those of the repository\'s own.',
            )
    every = dict.fromkeys([*regions, *(place.ecr.region for place in places if place.ecr)])
    services.progress.line(f"asking SageMaker in {', '.join(every)} which images are in use")
    algorithms = [SageMaker(region) for region in every]
    used = [use for sagemaker in algorithms for use in prune.uses(sagemaker)]

    doubts: dict[ImageReference, str] = {}

    def doubt(image: RemoteImage) -> str:
        if image.reference not in doubts:
            doubts[image.reference] = ownership.doubt(services, image)
        return doubts[image.reference]

    pruned = []
    for place in places:
        where = repository(services.registry, place)
        items = list_repository(services.registry, where)
        verdicts = prune.decide(items, prune.in_use(place, items, used), rules, doubt)
        if applied:  # the proofs may have taken minutes
            used = [use for sagemaker in algorithms for use in prune.uses(sagemaker)]
            verdicts = prune.decide(items, prune.in_use(place, items, used), rules, doubt)
        failures = dict(prune.delete(where, verdicts)) if applied else None
        pruned.append(_Pruned(where.place.name, verdicts, prune.freed(verdicts), failures))
    return pruned


def _document(pruned: _Pruned) -> dict[str, Any]:
    images = [
        {
            "digest": verdict.digest,
            "tags": list(verdict.item.listed.tags),
            "date": verdict.item.when.isoformat() if verdict.item.when else None,
            "action": "delete" if verdict.deleted else "keep",
            "why": verdict.why,
            "failure": (pruned.failures or {}).get(verdict.digest, ""),
        }
        for verdict in pruned.verdicts
    ]
    applied = pruned.failures is not None
    return {"repository": pruned.name, "applied": applied, "bytes": pruned.freed, "images": images}


def _text(pruned: Sequence[_Pruned]) -> str:
    lines = []
    for one in pruned:
        rows = [
            ("delete" if item.deleted else "keep", item.digest[:19], ", ".join(item.item.listed.tags) or "-", item.why)
            for item in sorted(one.verdicts, key=lambda verdict: verdict.deleted)
        ]
        lines += [f"{one.name}:", table(rows) if rows else "holds nothing", _summary(one), ""]
    return "\n".join(lines).rstrip()


def _summary(pruned: _Pruned) -> str:
    count = sum(verdict.deleted for verdict in pruned.verdicts)
    freed = f"{pruned.freed / 1e6:.1f} MB"
    if pruned.failures is None:
        return f"{count} would be deleted ({freed}); --apply does it." if count else "Nothing to delete."
    failed = sum(bool(why) for why in pruned.failures.values())
    return f"{count - failed} deleted" + (f", {failed} not" if failed else f" ({freed})")
