"""The command line: finds a command by name, and turns errors and signals into exit codes. All else is lazy."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType

import click

from xgbpatch.errors import XgbpatchError

COMMANDS = (
    "build", "test-local", "push",
    "plan", "rebuild", "rebase", "promote", "rollback", "usage", "prune",
    "render", "inspect", "versions", "features", "fixes", "metrics", "doctor", "init", "ci", "sandbox",
)  # fmt: skip


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that every context manager cleans up."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"xgbpatch.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="xgbpatch", message="%(prog)s %(version)s")
def cli() -> None:
    """Extend AWS's official SageMaker XGBoost container. Only the image URI changes.

    \b
    Examples:
      xgbpatch build --version 1.5-1 --feature shap
      xgbpatch test-local
      xgbpatch push
    """


def main() -> None:
    """Entry point of the `xgbpatch` script. Exit codes: see `xgbpatch.errors`; 130 and 143 for SIGINT and SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort as abort:  # click's word for a KeyboardInterrupt
        _fail("interrupted", _notes(abort.__cause__), 130)
    except (KeyboardInterrupt, Terminated) as stop:
        _fail("interrupted", _notes(stop), 143 if isinstance(stop, Terminated) else 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except XgbpatchError as error:
        _fail(error.message, (error.next_step, *_notes(error)), error.exit_code)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise Terminated


def _notes(error: BaseException | None) -> tuple[str, ...]:
    """What else went wrong while the commands cleaned up after `error`."""
    return tuple(getattr(error, "__notes__", ()))


def _fail(message: str, more: tuple[str, ...], code: int) -> None:
    click.secho(f"xgbpatch: {message}", fg="red", err=True)
    for line in filter(None, more):
        click.echo(f"  {line}", err=True)
    sys.exit(code)
