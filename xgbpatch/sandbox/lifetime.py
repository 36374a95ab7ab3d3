"""A sandbox comes up as a whole or not at all, and goes down without a trace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

from xgbpatch.errors import ExtraMissingError, SandboxError
from xgbpatch.progress import Progress
from xgbpatch.sandbox import cloud, hosts, names, processes, program, registries
from xgbpatch.sandbox.options import SandboxOptions
from xgbpatch.sandbox.state import Journal, SandboxState, locked, read

_EXTRA_MODULES = ("moto", "flask", "cryptography", "bcrypt")


@dataclass(frozen=True)
class Observation:
    """What of a sandbox was seen to work: its processes by name, the AWS endpoint, the lines in the hosts file."""

    state: SandboxState
    processes: dict[str, bool]
    endpoint: bool
    names: bool

    @property
    def healthy(self) -> bool:
        return self.state.complete and self.endpoint and self.names and all(self.processes.values())


def up(options: SandboxOptions, progress: Progress) -> SandboxState:
    """A running sandbox as asked: this one if it runs, a new one otherwise; bases that are missing are added.

    Raises `SandboxError`, or `ExtraMissingError`. However it fails, what it began is taken down again.
    """
    _require_possible(options)
    with locked(options):
        running = _reuse(options, progress)
        journal = Journal(running or SandboxState(options.account, options.state, options.hosts))
        try:
            if running is None:
                _make(journal, options, progress)
            _push_bases(journal, options, progress)
        except BaseException:
            if running is None:
                _remove(journal.state)
            raise
        return journal.state


def down(options: SandboxOptions, images: bool = False) -> bool:
    """Stop and remove all that `up` made, finished or not; False where there was nothing.

    With `images`, the engine's references to the sandbox's registries go too.
    """
    with locked(options):
        state = read(options.state)
        if state is None:
            return False
        if images:
            from xgbpatch.sandbox import bases

            bases.remove_images(state)
        _remove(state)
        return True


def status(options: SandboxOptions) -> Observation | None:
    """What runs at this moment; None where no sandbox was made."""
    state = read(options.state)
    return observe(state) if state else None


def observe(state: SandboxState) -> Observation:
    """Look at the processes, the endpoint and the names of a sandbox."""
    return Observation(
        state,
        {process.name: processes.running(process) for process in state.processes},
        bool(state.endpoint) and cloud.answers(state),
        hosts.holds(state.hosts, state.directory, state.registries),
    )


def _require_possible(options: SandboxOptions) -> None:
    for module in _EXTRA_MODULES:
        if find_spec(module) is None:
            raise ExtraMissingError("the sandbox", "sandbox")
    if os.geteuid() != 0:
        raise SandboxError(
            f'the sandbox needs root: port 443, "{options.hosts}" and "{options.certificates}"',
            "Run the same command as root.",
        )


def _reuse(options: SandboxOptions, progress: Progress) -> SandboxState | None:
    """The sandbox that runs already; None (and nothing left of it) when it is broken or was half-made."""
    state = read(options.state)
    if state is None:
        return None
    if not observe(state).healthy:
        progress.line("sandbox: what is left of an earlier one is removed first")
        _remove(state)
        return None
    if state.registries != registries.plan(options):
        raise SandboxError(
            f'the sandbox in "{state.directory}" runs with another account, other regions or addresses',
            "Run `xgbpatch sandbox down` first.",
        )
    return state


def _make(journal: Journal, options: SandboxOptions, progress: Progress) -> None:
    journal.update(registries=registries.plan(options))
    registries.require_free_addresses(journal.state.registries)
    binary = program.find_registry(options.state / "program", progress)
    installation = registries.Installation.make(binary, journal.state)
    for registry in journal.state.registries:
        process = installation.start(registry, registries.store(registry, journal.state))
        journal.update(processes=(*journal.state.processes, process))
    names.trust_authority(journal, options.certificates)
    names.publish_names(journal)
    registries.wait_until_all_answer(journal.state)
    cloud.start(journal)
    journal.update(complete=True)
    progress.line(f"sandbox: up, AWS endpoint {journal.state.endpoint}, {len(journal.state.registries)} registries")


def _push_bases(journal: Journal, options: SandboxOptions, progress: Progress) -> None:
    if options.versions:
        from xgbpatch.sandbox import bases

        bases.push(journal, options.versions, progress)


def _remove(state: SandboxState) -> None:
    """The state stays until everything else is gone, so that `down` can be repeated; raises `SandboxError`."""
    _try_all(
        lambda: processes.stop(state.processes),
        lambda: hosts.write(state.hosts, state.directory, ()),
        lambda: _remove_created(state),
    )
    shutil.rmtree(state.directory)


def _try_all(*steps: Callable[[], None]) -> None:
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except (SandboxError, OSError) as error:
            failures.append(error)
    if failures:
        raise SandboxError(
            f"not all of the sandbox could be removed: {failures[0]}", "Run `xgbpatch sandbox down` as root."
        ) from failures[0]


def _remove_created(state: SandboxState) -> None:
    for path in reversed(state.created):
        if path.is_dir():
            with suppress(OSError):  # somebody else put something into it
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
