"""The command line: finds a command by name, and turns errors and signals into exit codes. All else is lazy."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from xgbpatch.errors import FileError, XgbpatchError

COMMANDS = (
    "build", "test-local", "bench", "push",
    "plan", "rebuild", "rebase", "promote", "rollback", "usage", "prune",
    "render", "inspect", "versions", "features", "fixes", "metrics", "explain", "report",
    "convert-model", "doctor", "init", "ci",
    "sandbox", "cache",
)  # fmt: skip


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that every context manager cleans up."""


class _SystemRefusal(Exception):
    """An `OSError` on its way past click, which would end every broken pipe with exit code 1, the engine's as well."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _past_click() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _SystemRefusal(error) from error


class _LazyGroup(click.Group):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _past_click():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _past_click():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:  # click would suggest none: it looks among commands that are loaded
            from xgbpatch.util import nearest_word  # which takes its time to import

            meant = nearest_word(args[0], COMMANDS)
            if args[0].startswith("-") or not meant:
                raise
            raise click.UsageError(f'No such command "{args[0]}". Did you mean "{meant}"?', ctx) from error

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
    """Entry point of the `xgbpatch` script.

    Exit codes: see `xgbpatch.errors`; 130 and 143 for SIGINT and SIGTERM, 141 where the reader of stdout has gone.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort as abort:  # click's word for a KeyboardInterrupt
        _fail("interrupted", _notes(abort.__cause__), 130)
    except (KeyboardInterrupt, Terminated) as stop:
        _fail("interrupted", _notes(stop), 143 if isinstance(stop, Terminated) else 130)
    except click.ClickException as error:
        del (getattr(error, "possibilities", None) or [])[1:]  # of an option: the nearest alone, which comes first
        with _given_up():
            error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except XgbpatchError as error:
        _fail(error.message, (error.next_step, *_notes(error)), error.exit_code)
    except _SystemRefusal as refusal:
        _refused(refusal.error)
    except OSError as error:
        _refused(error)


def _refused(error: OSError) -> NoReturn:
    failure = FileError.of(error)
    if _came_from_printing(error):
        _let_streams_go()
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        failure = FileError(f"the output could not be written: {error.strerror}")
    _fail(failure.message, _notes(error), failure.exit_code)


def _came_from_printing(error: OSError) -> bool:
    """By the code that raised it: a failed write names no path. All output goes through click's echo, or rich's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in ("click", "rich")


@contextmanager
def _given_up() -> Iterator[None]:
    """For the last words of the program: where nobody reads stderr any more, the exit code still counts."""
    try:
        yield
    except OSError:
        _let_streams_go()


def _let_streams_go() -> None:
    """What could not be written is given up, or the interpreter would try it again at its end, and complain."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise Terminated


def _notes(error: BaseException | None) -> tuple[str, ...]:
    """What else went wrong while the commands cleaned up after `error`."""
    return tuple(getattr(error, "__notes__", ()))


def _fail(message: str, more: tuple[str, ...], code: int) -> NoReturn:
    with _given_up():
        click.secho(f"xgbpatch: {message}", fg="red", err=True)
        for line in "\n".join(filter(None, more)).splitlines():
            click.echo(f"  {line}", err=True)
    sys.exit(code)
