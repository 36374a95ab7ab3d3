"""Progress on stderr: bars on a terminal, plain lines elsewhere, nothing with `--quiet`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """Where a long step says how far it is: `update` as often as it likes, `line` for whole sentences.

    `done` and `total` are bytes; `note` says more, such as rows a second, beside the bar or as a line of its own.
    """

    def line(self, text: str) -> None: ...

    def update(self, task: str, done: int, total: int, note: str = "") -> None: ...


class Silent:
    """Says nothing."""

    def line(self, text: str) -> None:
        """Drop the sentence."""

    def update(self, task: str, done: int, total: int, note: str = "") -> None:
        """Drop the figure."""


class Plain:
    """One line a sentence, and one when a task is done: fit for a log file."""

    def __init__(self) -> None:
        self._finished: set[str] = set()

    def line(self, text: str) -> None:
        click.echo(text, err=True)

    def update(self, task: str, done: int, total: int, note: str = "") -> None:
        if note:
            click.echo(note, err=True)
        elif total and done >= total and task not in self._finished:
            self._finished.add(task)
            click.echo(f"{task}: done", err=True)


@contextmanager
def shown(quiet: bool) -> Iterator[Progress]:
    """The progress that fits where stderr goes."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[note]}"))  # fmt: skip
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as display:
            yield _Bars(display)
    else:
        yield Plain()


class _Bars:
    def __init__(self, display: RichProgress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}

    def line(self, text: str) -> None:
        self._display.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, task: str, done: int, total: int, note: str = "") -> None:
        if task not in self._tasks:
            self._tasks[task] = self._display.add_task(task, total=total or None, note=note)
        self._display.update(self._tasks[task], completed=done, total=total or None, note=note)
