"""`xgbpatch plan`: is every published image what a build of today would give?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands import _context, _options
from xgbpatch.commands._options import Selection
from xgbpatch.errors import FileError, XgbpatchError
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.registry import Services
    from xgbpatch.spec import PublishTarget, Spec
    from xgbpatch.upkeep.plan import Plan

_KEYS = (
    "name", "version", "state", "repository", "published", "base", "published_base", "reasons", "warnings",
    "end_of_patch", "error",
)  # fmt: skip
_PACKAGES = "Ask the package index for newer packages.  [default: yes]"


@dataclass(frozen=True)
class Failure:
    """An image that could not be looked at, and why."""

    spec: Spec
    error: XgbpatchError


@click.command("plan", short_help="Tell which published images are behind, and why; changes nothing.")
@_options.all_option
@_options.image_options
@_options.target_options
@click.option("--packages/--no-packages", "ask_index", default=True, help=_PACKAGES)
@_options.json_option
@_options.quiet_option
def command(
    selection: Selection, everything: bool, publish_target: PublishTarget, ask_index: bool, as_json: bool, quiet: bool
) -> None:  # fmt: skip
    """Compare each image of the configuration with what is published, by registry alone: no engine, nothing is pulled.

    Exit code 0: all are current. 10: one needs a rebuild, because its base moved, the spec, the overlay or a package is
    newer, or an alias is behind. 20: a person has to look, because a base changed something that the patch relies on,
    or the published image is not what its labels say (`foreign`). An image that could not be looked at does not hide
    the others; the exit code is then that of its error.

    Warns 90 days before AWS stops patching the version. A base that has moved is inspected once, from its layers, and
    so is what each image adds to its base.

    \b
    Examples:
      xgbpatch plan
      xgbpatch plan --all --json
      xgbpatch plan --config xgbpatch.toml --image fraud --no-packages
      xgbpatch plan --version 3.2-0 --feature shap --registry registry.example.com:5000
    """
    specs = selection.specs(everything)
    with _context.services(quiet) as services:
        plans = [_planned(services, spec, publish_target, ask_index) for spec in specs]
    click.echo(json.dumps(document(plans), indent=2) if as_json else text(plans))
    failures = {item.spec.name: item.error for item in plans if isinstance(item, Failure)}
    _context.raise_together(failures, len(plans), "images could not be looked at")
    raise SystemExit(exit_code(plans))


def _planned(services: Services, spec: Spec, publish_target: PublishTarget, ask_index: bool) -> Plan | Failure:
    from xgbpatch.commands.versions import today
    from xgbpatch.publish import destination_of
    from xgbpatch.upkeep import plan

    try:
        return plan.plan(services, spec, destination_of(spec, publish_target), today(), ask_index)
    except XgbpatchError as error:
        return Failure(spec, error)
    except OSError as error:
        return Failure(spec, FileError.of(error))


def exit_code(plans: Sequence[Plan | Failure]) -> int:
    """That of the first failure, else the highest of 0, 10 and 20."""
    for item in plans:
        if isinstance(item, Failure):
            return item.error.exit_code
    return max((item.state.exit_code for item in plans if not isinstance(item, Failure)), default=0)


def document(plans: Sequence[Plan | Failure]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"exit_code": exit_code(plans), "images": [row(item) for item in plans]}


def row(item: Plan | Failure) -> dict[str, Any]:
    """One image of it. What is not known of an image that could not be looked at is null."""
    head = {"name": item.spec.name, "version": item.spec.version}
    if isinstance(item, Failure):
        return {**dict.fromkeys(_KEYS), **head, "state": "error", "error": _context.error_document(item.error)}
    provenance = item.published.provenance if item.published else None
    return {
        **head,
        "state": item.state.value,
        "repository": item.place.name,
        "published": str(item.published.reference) if item.published else None,
        "base": str(item.base.reference),
        "published_base": f"{provenance.base_name}@{provenance.base_digest}" if provenance else None,
        "reasons": [
            {"cause": reason.cause.value, "words": reason.words, "difference": reason.difference}
            for reason in item.reasons
        ],
        "warnings": list(item.warnings),
        "end_of_patch": item.info.end_of_patch.isoformat() if item.info.end_of_patch else None,
        "error": None,
    }


def text(plans: Sequence[Plan | Failure]) -> str:
    """A table for people, and below it the reasons of each image that is not current. Errors go to stderr."""
    headings = ("IMAGE", "VERSION", "STATE", "PUBLISHED", "PATCHED UNTIL")
    lines = [table([headings, *(_cells(item) for item in plans)])]
    remarks = [line for item in plans if not isinstance(item, Failure) for line in _remarks(item)]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])])


def _cells(item: Plan | Failure) -> tuple[str, ...]:
    if isinstance(item, Failure):
        return item.spec.name, item.spec.version, "error", "?", "?"
    reference = item.published.reference if item.published else None
    return (
        item.spec.name,
        item.spec.version,
        item.state.value,
        (reference.tag or reference.digest) if reference else "-",
        item.info.end_of_patch.isoformat() if item.info.end_of_patch else "not announced",
    )


def _remarks(item: Plan) -> Iterator[str]:
    for reason in item.reasons:
        yield f"{item.spec.name}: {reason.words}"
        yield from (f"  {line}" for line in reason.difference.splitlines())
    yield from (f"{item.spec.name}: warning: {warning}" for warning in item.warnings)
