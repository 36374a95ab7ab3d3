"""`xgbpatch sandbox`: an AWS on loopback, to try everything without an account."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch import progress
from xgbpatch.commands._options import json_option, quiet_option
from xgbpatch.errors import SandboxError
from xgbpatch.sandbox.state import SandboxOptions

if TYPE_CHECKING:
    from xgbpatch.sandbox.lifecycle import Observation

_DEFAULTS = SandboxOptions()
_REGIONS = ", ".join(_DEFAULTS.regions)
_VERSIONS = ", ".join(_DEFAULTS.versions)
_state = click.option(
    "--state", type=click.Path(file_okay=False, resolve_path=True, path_type=Path), metavar="DIRECTORY",
    help="Where the sandbox keeps its state. [default: $XDG_STATE_HOME/xgbpatch/sandbox]",
)  # fmt: skip


@click.group("sandbox")
def command() -> None:
    """An AWS on loopback: ECR under its real host names, STS and SageMaker's control plane.

    Needs Linux, root (port 443 and /etc/hosts), a Docker Engine on this machine and the extra "sandbox".
    No cloud account is touched, and `down` removes everything that `up` made. While it runs, the sandbox is what this
    machine finds under these ECR host names, whatever the shell's variables say.

    \b
    Examples:
      xgbpatch sandbox up
      eval "$(xgbpatch sandbox env)"
      xgbpatch build --version 1.5-1 && xgbpatch push
      xgbpatch sandbox down
    """


@command.command("up")
@click.option("--version", "versions", multiple=True, metavar="VERSION", help=f"A base to push. [default: {_VERSIONS}]")
@click.option("--no-bases", is_flag=True, help="Push no base: ready in seconds.")
@click.option("--region", "regions", multiple=True, metavar="REGION", help=f"A region to serve. [default: {_REGIONS}]")
@click.option("--account", default=_DEFAULTS.account, show_default=True, help="Your own account in the sandbox.")
@click.option(
    "--address", "first_address", default=_DEFAULTS.first_address, show_default=True,
    help="First loopback address; every registry takes one, on port 443.",
)  # fmt: skip
@_state
@quiet_option
def up_(
    versions: tuple[str, ...], no_bases: bool, regions: tuple[str, ...], account: str, first_address: str,
    state: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Start the sandbox, and build and push the stand-in bases. Prints the AWS endpoint.

    A second `up` changes nothing, except that it adds the bases that are missing. The first takes minutes, unless the
    engine already holds the stand-ins.

    \b
    Examples:
      xgbpatch sandbox up
      xgbpatch sandbox up --version 3.2-0
      xgbpatch sandbox up --no-bases --region eu-central-1
    """
    from xgbpatch.aws import require_region
    from xgbpatch.sandbox import up

    for region in regions:
        require_region(region)
    options = SandboxOptions(
        account=account,
        regions=regions or _DEFAULTS.regions,
        versions=() if no_bases else versions or _DEFAULTS.versions,
        first_address=first_address,
        state=state or _DEFAULTS.state,
    )
    with progress.shown(quiet) as shown:
        running = up(options, shown)
        shown.line('Point this shell at it: eval "$(xgbpatch sandbox env)"')
    click.echo(running.endpoint)


@command.command("down")
@click.option("--images", is_flag=True, help="Also remove the engine's images named after the sandbox's registries.")
@_state
def down_(images: bool, state: Path | None) -> None:
    """Stop the sandbox and remove everything that `up` made, also after an `up` that was killed.

    \b
    Examples:
      xgbpatch sandbox down
      xgbpatch sandbox down --images
    """
    from xgbpatch.sandbox import VARIABLES, down

    existed = down(SandboxOptions(state=state or _DEFAULTS.state), images)
    removed = f"sandbox: removed. In a shell that was pointed at it: unset {' '.join(VARIABLES)}"
    click.echo(removed if existed else "sandbox: there was none", err=True)


@command.command("status")
@json_option
@_state
def status_(as_json: bool, state: Path | None) -> None:
    """What of the sandbox runs. Exits 0 when all of it does, 1 otherwise.

    \b
    Examples:
      xgbpatch sandbox status
      xgbpatch sandbox status --json
    """
    from xgbpatch.sandbox import status

    record = _record(status(SandboxOptions(state=state or _DEFAULTS.state)))
    click.echo(json.dumps(record, indent=2) if as_json else _text(record))
    sys.exit(0 if record["running"] else 1)


@command.command("env")
@_state
def env_(state: Path | None) -> None:
    """Shell lines that point xgbpatch, boto3 and the AWS CLI at the sandbox; hosts that NO_PROXY names stay in it.

    \b
    Examples:
      eval "$(xgbpatch sandbox env)"
      eval "$(xgbpatch sandbox env --state /root/second)"
    """
    from xgbpatch.sandbox import environment, status

    observation = status(SandboxOptions(state=state or _DEFAULTS.state))
    if observation is None or not observation.healthy:
        raise SandboxError("the sandbox does not run", "Start it: xgbpatch sandbox up")
    click.echo("unset AWS_PROFILE AWS_SESSION_TOKEN")
    for name, value in environment(observation.state).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _record(observation: Observation | None) -> dict[str, Any]:
    if observation is None:
        return {"running": False}
    return {
        "running": observation.healthy,
        "endpoint": observation.state.endpoint,
        "account": observation.state.account,
        "endpoint_answers": observation.endpoint,
        "names_resolve": observation.names,
        "registries": [
            {"host": one.host, "address": one.address, "running": observation.processes.get(one.host, False)}
            for one in observation.state.registries
        ],
        "bases": list(observation.state.bases),
        "state": str(observation.state.directory),
    }


def _text(record: dict[str, Any]) -> str:
    if len(record) == 1:
        return "sandbox: not made"
    lines = [
        f"sandbox: {'running' if record['running'] else 'broken (xgbpatch sandbox up mends it)'}",
        f"AWS endpoint {record['endpoint']}: {'answers' if record['endpoint_answers'] else 'silent'}",
        *(f"{one['host']} at {one['address']}: {'running' if one['running'] else 'ended'}"
          for one in record["registries"]),
        f"host names: {'in place' if record['names_resolve'] else 'missing'}",
        f"bases: {', '.join(record['bases']) or 'none'}",
    ]  # fmt: skip
    return "\n".join(lines)
