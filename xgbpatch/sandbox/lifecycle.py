"""Up, down and status of the AWS on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from xgbpatch import hostnames
from xgbpatch.engine.client import Engine, afterwards
from xgbpatch.errors import EngineError, ExtraMissingError, RegistryError, SandboxError
from xgbpatch.progress import Progress, Silent
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.sandbox import hosts, registries
from xgbpatch.sandbox import state as sandbox_state
from xgbpatch.sandbox.state import Journal, RegistryHost, SandboxOptions, SandboxState, locked, read

VARIABLES = (
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION",
    "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_KEY = "sandbox"  # made up: moto takes any


def environment(state: SandboxState) -> dict[str, str]:
    """What the CLI, boto3, the AWS CLI and requests read: `VARIABLES`, and both spellings of NO_PROXY.

    No proxy is asked for the sandbox's hosts, nor for those that this process reaches without one already.
    """
    bundle = str(state.bundle)
    values = (state.endpoint, _KEY, _KEY, state.region, state.region, bundle, bundle)
    upper, lower = (os.environ.get(name, "") for name in ("NO_PROXY", "no_proxy"))  # requests heeds the second first
    return {
        **dict(zip(VARIABLES, values, strict=True)),
        "NO_PROXY": _extended(upper or lower, state),
        "no_proxy": _extended(lower or upper, state),
    }


def _extended(direct: str, state: SandboxState) -> str:
    """The hosts that are reached without a proxy, and the sandbox's."""
    if direct.strip() == "*":  # every host; as one of a list it would mean none
        return direct
    ours = ("127.0.0.1", *(registry.host for registry in state.registries))
    return ",".join(dict.fromkeys([*filter(None, direct.split(",")), *ours]))


# AWS's control plane (ECR, STS, SageMaker, …) on a free loopback port: moto, with ECR's images from the registries.


_DEFAULT_ACCOUNT = "123456789012"
_START_SECONDS = 60.0


def start(journal: Journal) -> None:
    """Start it and wait until it answers; raises `SandboxError` with the end of its log."""
    with socket.socket() as reserved:  # bound until the server is: nobody else is given the port in between
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = int(reserved.getsockname()[1])
        state = journal.update(endpoint=f"http://127.0.0.1:{port}")
        command = [sys.executable, "-m", "xgbpatch.sandbox.ecr_server", str(state.directory)]
        # This process's variables, without what belongs to the user's own AWS.
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        variables["MOTO_PORT"] = str(port)
        if state.account != _DEFAULT_ACCOUNT:  # moto tells accounts by key unless one is forced
            variables["MOTO_ACCOUNT_ID"] = state.account
        process = sandbox_state.start("aws", command, variables, state.directory / "aws.log")
        state = journal.update(processes=(*state.processes, process))
        deadline = time.monotonic() + _START_SECONDS
        while not answers(state):
            if time.monotonic() > deadline or not sandbox_state.running(process):
                log = sandbox_state.last_lines(state.directory / "aws.log")
                raise SandboxError(f'the AWS endpoint "{state.endpoint}" does not answer\n{log}')
            time.sleep(0.1)


def answers(state: SandboxState) -> bool:
    """Whether the AWS endpoint answers."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{state.endpoint}/moto-api/data.json", timeout=10).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


# The engine's Go resolver keeps the hosts file for 5 s: a name that was just written may be unknown to it.


def wait_for_engine(state: SandboxState) -> None:
    """Wait until the engine finds the sandbox's registries; without an engine there is nothing to wait for."""
    try:
        engine = Engine.connect()
    except EngineError:
        return
    with engine:
        for registry in state.registries:
            wait_until_known(engine, ImageReference(registry.host, "xgbpatch/no-image", "1"), _credentials(registry))


def wait_until_known(engine: Engine, missing: ImageReference, credentials: Credentials) -> None:
    """Wait until the registry itself says that it has no image `missing`; raises `SandboxError` where none answers."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            engine.pull(missing, credentials, Silent())
        except RegistryError as error:
            if not any(words in error.message for words in ("no such host", "connection refused")):
                return
            if time.monotonic() > deadline:
                raise SandboxError(
                    f'the Docker Engine does not find "{missing.host}": {error.message}',
                    "Does it run on this machine, with this machine's hosts file?",
                ) from error
        else:
            return
        time.sleep(0.5)


# The stand-in bases, built and pushed under the names that the official images have in ECR.


_IMAGE_LABEL = "com.amazonaws.sagemaker.capabilities.multi-models"  # on every base, and on every image built from one


def push(journal: Journal, versions: tuple[str, ...], progress: Progress) -> None:
    """Build and push the stand-ins of `versions` that are not there yet. One store serves every region."""
    missing = [version for version in versions if version not in journal.state.bases]
    if not missing:
        return
    from xgbpatch import catalogue
    from xgbpatch.standin.build import build_standin

    registry = journal.state.registries[0]
    with Engine.connect() as engine:
        for version in missing:
            reference = catalogue.image_uri(version, registry.region)
            progress.line(f"{reference}: building the stand-in")
            image = build_standin(engine, version, progress)
            with _tagged(engine, image.id, reference):
                digest = engine.push(reference, _credentials(registry), progress)
            progress.line(f"{reference}@{digest}: pushed")
            journal.update(bases=(*journal.state.bases, version))


def remove_images(state: SandboxState) -> None:
    """Remove the engine's references to the sandbox's registries: bases it pulled, images it was to push."""
    ours = {registry.host for registry in state.registries}
    with Engine.connect() as engine:
        for image in engine.images(_IMAGE_LABEL):
            for name in (*image.tags, *image.repo_digests):
                reference = ImageReference.parse(name)
                if reference.host in ours:
                    engine.remove(reference)


@contextmanager
def _tagged(engine: Engine, image: str, reference: ImageReference) -> Iterator[None]:
    """Lend the image that name, unless the engine has it already: what is pulled must come from the registry."""
    before = engine.image(reference)
    engine.tag(image, reference)
    if before:
        yield
        return
    with afterwards(lambda: engine.remove(reference)):
        yield


def _credentials(registry: RegistryHost) -> Credentials:
    return Credentials("AWS", registry.password)


# A sandbox comes up as a whole or not at all, and goes down without a trace.


_EXTRA_MODULES = ("moto", "flask", "cryptography", "bcrypt")


@dataclass(frozen=True)
class Observation:
    """Which parts of a sandbox work: its processes by name, the AWS endpoint, the lines in the hosts file."""

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
            push(journal, options.versions, progress)
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
        if state is None:  # its names may stand all the same: somebody removed the state directory by hand
            named = str(options.state) in hostnames.owners(options.hosts).values()
            if named:
                hosts.write(options.hosts, options.state, ())
            return named
        if images:
            remove_images(state)
        _remove(state)
        return True


def status(options: SandboxOptions) -> Observation | None:
    """What runs at this moment; None where no sandbox was made."""
    state = read(options.state)
    return observe(state) if state else None


def known(options: SandboxOptions) -> tuple[Path, ...]:
    """The state directories of this machine's sandboxes: that of `options`, and those that the hosts file names."""
    return tuple(dict.fromkeys([options.state, *map(Path, hostnames.owners(options.hosts).values())]))


def pointed_at() -> str:
    """The AWS endpoint of the sandbox that this process is pointed at, running or not; empty where at none."""
    return os.environ.get("AWS_ENDPOINT_URL", "") if os.environ.get("AWS_ACCESS_KEY_ID") == _KEY else ""


def observe(state: SandboxState) -> Observation:
    """Look at the processes, the endpoint and the names of a sandbox."""
    return Observation(
        state,
        {process.name: sandbox_state.running(process) for process in state.processes},
        bool(state.endpoint) and answers(state),
        hosts.holds(state.hosts, state.directory, state.registries),
    )


def _require_possible(options: SandboxOptions) -> None:
    if os.geteuid() != 0:  # first: who is not root may be unable to look for the modules
        raise SandboxError(
            f'the sandbox needs root: port 443, "{options.hosts}" and "{options.certificates}"',
            "Run the same command as root.",
        )
    for module in _EXTRA_MODULES:
        if find_spec(module) is None:
            raise ExtraMissingError("the sandbox", "sandbox")


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
    binary = registries.find_registry(options.state / "program", progress)
    registries.write_certificates(journal.state)
    for registry in journal.state.registries:
        process = registries.start(binary, registry, journal.state)
        journal.update(processes=(*journal.state.processes, process))
    hosts.trust_authority(journal, options.certificates)
    hosts.publish_names(journal)
    registries.wait_until_all_answer(journal.state)
    start(journal)
    wait_for_engine(journal.state)
    journal.update(complete=True)
    progress.line(f"sandbox: up, AWS endpoint {journal.state.endpoint}, {len(journal.state.registries)} registries")


def _remove(state: SandboxState) -> None:
    """The state stays until everything else is gone, so that `down` can be repeated; raises `SandboxError`."""
    steps: tuple[Callable[[], None], ...] = (
        lambda: sandbox_state.stop(state.processes),
        lambda: hosts.write(state.hosts, state.directory, ()),
        lambda: hosts.distrust_authority(state),
    )
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
    shutil.rmtree(state.directory)
