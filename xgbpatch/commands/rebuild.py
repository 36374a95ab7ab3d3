"""`xgbpatch rebuild`: what `plan` found, done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands import _context, _options
from xgbpatch.commands._options import Selection, Signature
from xgbpatch.errors import XgbpatchError
from xgbpatch.progress import Progress, shown
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.reference import ImageReference
    from xgbpatch.spec import PublishTarget, Spec
    from xgbpatch.upkeep.plan import Plan
    from xgbpatch.upkeep.rebuild import NewImage, RebuildResult

_NO_TEST = "Put the images under their version tags only: no engine is needed, and no alias moves."
_ATTACH = "Attach the CycloneDX document of what the patch adds.  [default: yes]"
_DRIFT = "Also where the base changed what the patch relies on; `xgbpatch plan` shows the difference."


@dataclass(frozen=True)
class _Order:
    """One image, and how it is to be renewed."""

    spec: Spec
    publish_target: PublishTarget
    builder: str
    test: bool
    scan_gate: bool
    accept_drift: bool
    attach_sbom: bool
    signature: Signature
    logs: Path


@click.command("rebuild", short_help="Bring published images up to date: build or rebase, test, push, move aliases.")
@_options.image_options
@_options.all_option
@_options.target_options
@_options.builder_option
@click.option("--test/--no-test", default=True, help=f"[default: yes]  {_NO_TEST}")
@click.option("--scan-gate/--no-scan-gate", default=True, help="In ECR, refuse what adds a finding.  [default: yes]")
@click.option("--accept-drift", is_flag=True, help=_DRIFT)
@_options.sign_options
@click.option("--attach-sbom/--no-attach-sbom", default=True, help=_ATTACH)
@click.option("--jobs", type=click.IntRange(1, 16), default=2, show_default=True, help="Images at a time.")
@_options.logs_option
@_options.json_option
@_options.quiet_option
def command(
    selection: Selection, everything: bool, publish_target: PublishTarget, builder: str, test: bool, scan_gate: bool,
    accept_drift: bool, attach_sbom: bool, signature: Signature, jobs: int, logs: Path, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Bring the published images of the configuration up to date; prints what became of each.

    Only what `xgbpatch plan` says is made anew: moved onto the new base where nothing else changed, else built. The new
    image is pushed under its version tag, scanned (ECR), tested by test-local on that very digest, and only then do the
    aliases move. An image whose base drifted, or that is not what its labels say, is left to a person (exit code 20).
    One failure does not stop the others; the exit code is that of the first.

    \b
    Examples:
      xgbpatch rebuild --all
      xgbpatch rebuild --image fraud --builder docker
      xgbpatch rebuild --all --jobs 4 --json
      xgbpatch rebuild --no-test --builder registry
    """
    specs = selection.specs(everything)
    order = _Order(specs[0], publish_target, builder, test, scan_gate, accept_drift, attach_sbom, signature, logs)
    orders = {spec.name: replace(order, spec=spec) for spec in specs}
    answers: dict[str, dict[str, Any]] = {}
    try:
        with shown(quiet) as progress:
            for name, answer in _each(orders, jobs, progress):
                answers[name] = answer
                progress.line(f"{name}: {answer['outcome']}")
    finally:  # also where the rest is interrupted: what stands stays known
        rows = [answers[name] for name in orders if name in answers]
        if rows:
            click.echo(json.dumps({"images": rows}, indent=2) if as_json else text(rows))
    if not as_json:
        for line in remarks(rows):
            click.echo(line, err=True)
    sys.exit(exit_code(rows))


def exit_code(answers: list[dict[str, Any]]) -> int:
    """That of the first failure, else 20 where a person is needed, else 0."""
    failed = [answer["exit_code"] for answer in answers if answer["outcome"] == "failed"]
    return int(failed[0] if failed else max((answer["exit_code"] for answer in answers), default=0))


def text(answers: list[dict[str, Any]]) -> str:
    """A table for people, and below it the images, each whole on a line of its own. Errors and differences are among
    the `remarks`, on stderr."""
    rows = [(answer["name"], answer["outcome"], _remark(answer)) for answer in answers]
    images = [f"{answer['name']}: {answer['image']}" for answer in answers if answer["image"]]
    return "\n".join([table([("IMAGE", "OUTCOME", "REMARK"), *rows]), *(["", *images] if images else [])])


def remarks(answers: list[dict[str, Any]]) -> Iterator[str]:
    """The whole error of each image that failed, and what each that waits for a person has for them to read."""
    for answer in answers:
        name = answer["name"]
        if answer["error"]:
            yield from _context.failure_lines(name, XgbpatchError(answer["error"], answer["next_step"]))
        if answer["outcome"] in ("drifted", "foreign"):
            yield from (f"{name}: {reason}" for reason in answer["reasons"])
            yield from (f"  {line}" for difference in answer["differences"] for line in difference.splitlines())


def _remark(answer: dict[str, Any]) -> str:
    if answer["exit_code"]:
        return ""  # stderr has it whole
    moved = ", ".join(answer["aliases"])
    return (moved and f"aliases: {moved}") or ("" if answer["outcome"] == "current" else "; ".join(answer["reasons"]))


def _each(orders: dict[str, _Order], jobs: int, progress: Progress) -> Iterator[tuple[str, dict[str, Any]]]:
    if len(orders) == 1:
        ((name, order),) = orders.items()
        yield name, renewed(order, progress)
        return
    from xgbpatch.commands import _parallel  # whose processes take a while to import
    from xgbpatch.upkeep.rebuild import Outcome, RebuildResult

    for name, answer in _parallel.run_each(renewed, orders, jobs, progress):
        if isinstance(answer, _parallel.WorkerDied):
            yield name, document(RebuildResult(name, Outcome.FAILED, error=XgbpatchError(str(answer))))
        else:
            yield name, answer


def renewed(order: _Order, progress: Progress) -> dict[str, Any]:
    """What became of one image, as `--json` shows it; runs in a process of its own where there are several."""
    from xgbpatch.commands.versions import today
    from xgbpatch.engine.client import Engine
    from xgbpatch.publish import attachments, destination_of, scan_gate
    from xgbpatch.publish.attachments import Attachments
    from xgbpatch.upkeep import rebuild

    services = _context.connect_services(progress)
    with ExitStack() as stack:

        def make(plan: Plan, place: ImageReference) -> NewImage:
            """Connects the engine when there is something to make, and before it is made: a test must not fail for want
            of one when the image stands in the registry already. So it is with cosign."""
            order.signature.signer()
            if order.builder == "docker":
                engine = stack.enter_context(Engine.connect())
                return rebuild.make_with_engine(services, engine, plan, place)
            if order.test:
                stack.enter_context(Engine.connect())
            return rebuild.make_in_registry(services, plan, place, accept_drift=order.accept_drift)

        def attach(image: NewImage) -> None:
            options = Attachments(order.attach_sbom, order.signature.signer())
            attachments.attach_all(services, image.reference, image.definition, options)

        steps = rebuild.RebuildSteps(
            services,
            lambda spec: destination_of(spec, order.publish_target),
            make,
            attach,
            today(),
            partial(scan_gate.gate, services) if order.scan_gate else None,
            _context.local_tester(services, order.logs) if order.test else None,
            order.accept_drift,
        )
        return document(rebuild.rebuild(steps, order.spec))


def document(renewal: RebuildResult) -> dict[str, Any]:
    """One image's entry of `--json`; `exit_code` is what it adds to the command's."""
    from xgbpatch.upkeep.rebuild import Outcome

    plan, error = renewal.plan, renewal.error
    waits = 20 if renewal.outcome in (Outcome.DRIFTED, Outcome.FOREIGN) else 0
    return {
        "name": renewal.name,
        "outcome": renewal.outcome.value,
        "image": str(renewal.image) if renewal.image else None,
        "base": str(plan.base.reference) if plan else None,
        "reasons": [reason.words for reason in plan.reasons] if plan else [],
        "differences": [reason.difference for reason in plan.reasons if reason.difference] if plan else [],
        "aliases": list(renewal.aliases),
        "tested": renewal.tested,
        "error": error.message if error else None,
        "next_step": error.next_step if error else None,
        "exit_code": error.exit_code if error else waits,
    }
