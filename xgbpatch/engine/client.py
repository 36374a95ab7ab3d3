"""The Docker Engine: the only importer of docker-py, none of whose objects leaves this package."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import requests
import urllib3

from xgbpatch import hostnames
from xgbpatch.engine import ownership
from xgbpatch.engine.types import Completed, EngineInformation, LocalImage, OwnedContainer, Run, drain, output_of
from xgbpatch.errors import BaseImageError, BuildError, EngineError, RegistryError, XgbpatchError
from xgbpatch.progress import Progress
from xgbpatch.reference import Credentials, ImageReference

if TYPE_CHECKING:
    import docker
    import docker.errors


def unreachable() -> tuple[type[Exception], ...]:
    """The errors of an engine that does not answer. docker-py is slow to import, so it is loaded where it is needed."""
    import docker.errors

    # A stream that breaks off is read by urllib3 itself, past requests.
    return docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError


class EngineGoneError(EngineError):
    """The engine stopped answering; the image that was worked on is not to blame."""


def is_gone(error: docker.errors.APIError) -> bool:
    """Whether the engine refused a removal because somebody else did it, or is about to."""
    words = str(error.explanation or error)
    if error.status_code == 409:  # moby's ContainerRm; an image that is in use is another 409
        return "is already in progress" in words
    return error.status_code == 404 or "unrecognized image ID" in words  # moby 20.10: 500, between two removals


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Runs a call to the engine; `what` completes "the engine refused to …"."""
    import docker.errors

    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise EngineError(f"the engine cannot {what}: it holds no such image") from error
    except docker.errors.APIError as error:
        raise EngineError(f"the engine refused to {what}: {error.explanation or error}") from error
    except unreachable() as error:
        raise EngineGoneError(
            f"the engine stopped answering while it should {what}: {error}", "Is the Docker Engine still running?"
        ) from error


# What errors and signals must not spoil: short steps that are not cut in two, and the error that ended a block.


_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def postponed_interrupt() -> Iterator[None]:
    """SIGINT and SIGTERM for this thread arrive when the block has ended: what the engine has made must be known here,
    to be removed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def afterwards(clean_up: Callable[[], None]) -> Iterator[None]:
    """Runs `clean_up` however the block ends. An error of its own is raised after a block that ended well; after one
    that failed or was interrupted it is only a note on what ended the block, which decides the exit code."""
    try:
        yield
    except BaseException as error:
        try:
            clean_up()
        except Exception as second:
            note = f"{second}. {second.next_step}" if isinstance(second, XgbpatchError) else str(second)
            # `BaseException.add_note`, which Python 3.10 lacks
            error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
        raise
    clean_up()


@contextmanager
def _registry_of(image: ImageReference) -> Iterator[None]:
    """The registry's own words, and what to do where its name is that of a sandbox."""
    try:
        yield
    except RegistryError as error:
        error.next_step = error.next_step or hostnames.next_step(image.host)
        raise


# A running container, as far as the rest of the project needs one.


class Container:
    """A started container. Made and removed by `Engine.container` only."""

    def __init__(self, container: Any) -> None:
        self._container = container

    @property
    def id(self) -> str:
        return str(self._container.id)

    def address(self, port: int) -> str:
        """`127.0.0.1:<published port>` of a port of the container; raises `EngineError` when it is not published."""
        self._reload()
        bindings = self._container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
        if not bindings:
            raise EngineError(f'port {port} of container "{self.id[:12]}" is not published', "It may have exited.")
        return f"127.0.0.1:{bindings[0]['HostPort']}"

    def inner_address(self, port: int) -> str:
        """`<address in its network>:<port>`, without the engine's proxy between; empty where it is in no network.

        It can be reached where the engine runs on this machine, on Linux, and not in a virtual machine.
        """
        self._reload()
        networks = self._container.attrs["NetworkSettings"].get("Networks") or {}
        addresses = [network["IPAddress"] for network in networks.values() if network.get("IPAddress")]
        return f"{addresses[0]}:{port}" if addresses else ""

    @property
    def running(self) -> bool:
        self._reload()
        return bool(self._container.attrs["State"]["Running"])

    def wait(self, timeout: float) -> int:
        """The exit code; raises `EngineError` when it still runs after `timeout` seconds."""
        try:
            return int(self._container.wait(timeout=timeout)["StatusCode"])
        except unreachable() as error:  # also in the middle of its answer, whose head comes at once
            late = isinstance(error, (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError))
            if not late or "timed out" not in str(error):  # a time-out on a socket comes as a ConnectionError
                raise EngineGoneError(f"the engine stopped answering while a container ran: {error}") from error
            raise EngineError(f'container "{self.id[:12]}" did not end within {timeout:g} s') from error

    def stop(self, signal: str, grace: float) -> float | None:
        """Send `signal`; returns the seconds until it ended, or None when it still runs after `grace` seconds."""
        begun = time.monotonic()
        with translated(f"send {signal} to a container"):
            self._container.kill(signal=signal)
        try:
            self.wait(grace)
        except EngineGoneError:
            raise
        except EngineError:
            return None
        return time.monotonic() - begun

    def stdout(self) -> str:
        return self._logs(stdout=True, stderr=False)

    def stderr(self) -> str:
        return self._logs(stdout=False, stderr=True)

    def execute(self, command: list[str]) -> tuple[int, bytes]:
        """Run `command` inside; returns its exit code and its combined output."""
        with translated("run a command in a container"):
            api = self._container.client.api
            execution = api.exec_create(self._container.id, command)["Id"]
            output = output_of(api, execution)
            return int(api.exec_inspect(execution)["ExitCode"]), output

    def memory(self) -> int:
        """Bytes of memory in use, page cache left out."""
        with translated("measure a container"):
            usage = self._container.stats(stream=False).get("memory_stats", {})
        cached = usage.get("stats", {}).get("inactive_file", 0)
        return max(0, int(usage.get("usage", 0)) - int(cached))

    def cpu_seconds(self) -> float:
        """Processor time that all processes of the container have taken since its start."""
        with translated("measure a container"):
            stats = self._container.client.api.stats(self._container.id, stream=False, one_shot=True)
        return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def _logs(self, stdout: bool, stderr: bool) -> str:
        with translated("read a container's log"):
            return bytes(self._container.logs(stdout=stdout, stderr=stderr)).decode("utf-8", "replace")

    def _reload(self) -> None:
        with translated("look at a container"):
            self._container.reload()


_CONTAINERD_STORE = "io.containerd.snapshotter.v1"  # what `docker info` shows as its driver type
# A cached step was removed by somebody else while this build stood on it.
_LOST_RACE = ("unknown parent image ID", 'unable to find image "sha256:')
_REMOVAL_SECONDS = 120
_TIMEOUT_SECONDS = 1800  # a base is gigabytes; docker-py's own limit is 60 s


class Engine:
    """A reachable Docker Engine. Construct with `Engine.connect()`; usable as a context manager."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Engine:
        """The engine that `DOCKER_HOST` names, or Docker's current context; raises `EngineError` where none answers.

        Containers of sessions that were killed before they could remove them are removed now.
        """
        import docker
        from docker.context import ContextAPI
        from docker.context.config import get_current_context_name

        where = os.environ.get("DOCKER_HOST", "")
        try:
            context = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
            if not where and ContextAPI.get_context(context) is None:  # docker-py would take the default socket
                raise EngineError(f'Docker has no context "{context}"', "`docker context ls` lists those that it has.")
            where = where or ("the default socket" if context == "default" else f"the context {context}")
            client = docker.from_env(timeout=_TIMEOUT_SECONDS)
            client.ping()
        except EngineError:
            raise
        except unreachable() as error:
            raise EngineError(
                f'no Docker Engine answers at "{where}": {error}',
                "Start Docker; `xgbpatch doctor` tells what is missing, and how to get it.",
            ) from error
        except Exception as error:  # what docker-py lets through of files that are none of its kind
            raise EngineError(
                f"Docker's settings cannot be read (DOCKER_HOST, and what DOCKER_CONFIG or ~/.docker holds): {error}",
                "Correct config.json, or the context.",
            ) from error
        # Nothing is pulled by a build, and a helper of the logins that is missing or silent would end it.
        api: Any = client.api
        api._set_auth_headers = lambda headers: None
        engine = cls(client)
        for container in engine._labelled():
            if ownership.life(container.labels[ownership.OWNER_LABEL]) is ownership.Life.ENDED:
                _remove(container)
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def information(self) -> EngineInformation:
        with translated("describe itself"):
            about = self._client.info()
        return EngineInformation(
            version=str(about["ServerVersion"]),
            architecture=str(about["Architecture"]),
            root=Path(str(about["DockerRootDir"])),
            containerd_store=["driver-type", _CONTAINERD_STORE] in (about.get("DriverStatus") or []),
        )

    def image(self, reference: ImageReference | str) -> LocalImage | None:
        """The image under that reference or ID, or None when the engine does not hold it."""
        document = self._document(reference)
        return LocalImage.of_engine(document) if document else None

    def require_image(self, reference: ImageReference | str) -> LocalImage:
        """As `image`; raises `BaseImageError` where the engine does not hold it."""
        image = self.image(reference)
        if image is None:
            raise BaseImageError(
                f'the engine holds no image "{reference}"', f"Build it, or run: docker pull {reference}"
            )
        return image

    def images(self, label: str, repository: str = "") -> list[LocalImage]:
        """Images that carry `label` (`name` or `name=value`), where it is named in `repository`, newest first."""
        with translated("list images"):
            listed = self._client.api.images(name=repository or None, filters={"label": label}, quiet=True)
        documents = [self._document(image) for image in dict.fromkeys(listed)]
        images = map(LocalImage.of_engine, filter(None, documents))  # another process may have removed one since
        return sorted(images, key=lambda image: image.created, reverse=True)

    def _document(self, image: ImageReference | str) -> Mapping[str, Any] | None:
        """What the engine says of an image that it holds."""
        import docker.errors

        with translated(f'read image "{image}"'):
            try:
                document: Mapping[str, Any] = self._client.images.get(str(image)).attrs
            except docker.errors.ImageNotFound:
                return None
        return document

    def pull(self, reference: ImageReference, credentials: Credentials | None, progress: Progress) -> LocalImage:
        """Pull by tag or digest; raises `RegistryError` with the registry's own words."""
        source = reference.pinned if reference.digest else reference
        try:
            with _registry_of(source), translated(f'pull "{source}"'):
                name, tag = source.name, source.digest or source.tag
                stream = self._client.api.pull(name, tag=tag, stream=True, decode=True, auth_config=_auth(credentials))
                drain(stream, progress, RegistryError, f'could not pull "{source}"')
        except EngineGoneError:
            raise
        except EngineError as error:  # a registry's refusal before the stream begins comes as one of the engine
            words = f'could not pull "{source}": {error.message}'
            raise RegistryError(words, hostnames.next_step(source.host)) from error
        image = self.image(source)
        if image is None:
            raise RegistryError(f'"{source}" was pulled but the engine does not hold it')
        return image

    def build(
        self, context: IO[bytes], platform: str, progress: Progress, *,
        tag: ImageReference | None = None, no_cache: bool = False,
    ) -> LocalImage:  # fmt: skip
        """Build `context` (an uncompressed tar, Dockerfile at its root) with the classic builder, never pulling.

        Without `tag` the image stays nameless. Raises `BuildError` with the failing step's message.
        """

        def attempt() -> Mapping[str, Any]:
            context.seek(0)
            with translated("build"):
                stream = self._client.api.build(
                    fileobj=context, custom_context=True, encoding=None, decode=True, tag=str(tag) if tag else None,
                    platform=platform, nocache=no_cache, rm=True, forcerm=True, pull=False,
                )  # fmt: skip
                return drain(stream, progress, BuildError, "the build failed")

        try:
            aux = attempt()
        except BuildError as error:
            if not any(words in error.message for words in _LOST_RACE):
                raise
            aux = attempt()
        image = self.image(str(aux.get("ID") or tag))
        if image is None:
            raise BuildError("the engine reported a successful build but holds no such image")
        return image

    def tag(self, image: str, reference: ImageReference) -> None:
        with translated(f'tag "{image}" as "{reference}"'):
            self._client.api.tag(image, reference.name, reference.tag)

    def remove(self, image: ImageReference | str) -> None:
        """Remove a name (the image goes with its last one), or a nameless image by ID; silent where it is gone."""
        import docker.errors

        with translated(f'remove "{image}"'):
            try:
                self._client.images.remove(str(image))
            except docker.errors.APIError as error:
                if not is_gone(error):
                    raise

    def push(self, reference: ImageReference, credentials: Credentials | None, progress: Progress) -> str:
        """Push `reference`; returns the manifest digest; raises `RegistryError` with the registry's own words."""
        with _registry_of(reference), translated(f'push "{reference}"'):
            stream = self._client.api.push(
                reference.name, tag=reference.tag, stream=True, decode=True, auth_config=_auth(credentials)
            )
            aux = drain(stream, progress, RegistryError, f'could not push "{reference}"')
        if "Digest" not in aux:
            raise RegistryError(f'the push of "{reference}" ended without a digest')
        return str(aux["Digest"])

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        """Start `run`; the container is removed, with its volumes, however the block ends."""
        container = None

        def clean_up() -> None:
            if container is not None:
                _remove(container)

        with afterwards(clean_up):
            with translated(f'start a container of "{run.image}"'):
                with postponed_interrupt():
                    container = self._client.containers.create(run.image, **_options(run))
                container.start()
            yield Container(container)

    def run(self, run: Run, timeout: float = 600) -> Completed:
        """Run to the end; raises `EngineError` after `timeout` seconds. The container is always removed."""
        with self.container(run) as container:
            exit_code = container.wait(timeout)
            return Completed(exit_code, container.stdout(), container.stderr())

    def containers(self) -> list[OwnedContainer]:
        """Every container that an xgbpatch started, wherever it ran, and that still exists."""
        return [
            OwnedContainer(
                id=str(container.id),
                created=str(container.attrs.get("Created", "")),
                owner=ownership.describe(container.labels[ownership.OWNER_LABEL]),
                life=ownership.life(container.labels[ownership.OWNER_LABEL]),
            )
            for container in self._labelled()
        ]

    def leftovers(self, process: int | None = None) -> list[str]:
        """IDs of containers that this tool (or one `process` of this machine) started and that still exist."""
        return [
            str(container.id)
            for container in self._labelled()
            if process is None or ownership.names(container.labels[ownership.OWNER_LABEL], process)
        ]

    def _labelled(self) -> list[Any]:
        with translated("list containers"):
            return list(
                self._client.containers.list(all=True, filters={"label": ownership.OWNER_LABEL}, ignore_removed=True)
            )


def _options(run: Run) -> dict[str, Any]:
    return {
        "command": list(run.command),
        "entrypoint": list(run.entrypoint) or None,
        "environment": dict(run.environment),
        "volumes": {str(m.source): {"bind": m.target, "mode": "ro" if m.read_only else "rw"} for m in run.mounts},
        "ports": {f"{port}/tcp": ("127.0.0.1", None) for port in run.ports},
        "network_mode": run.network,
        "hostname": run.hostname or None,
        "mem_limit": run.memory or None,
        "labels": {ownership.OWNER_LABEL: str(ownership.current())},
        "detach": True,
        **(_seal(run) if run.sealed else {}),
    }


def _seal(run: Run) -> dict[str, Any]:
    from docker.types import LogConfig, Ulimit

    return {
        "user": "65534:65534",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": "size=1g,mode=1777,noexec,nosuid,nodev"},  # noqa: S108
        "pids_limit": 256,
        "memswap_limit": run.memory or None,
        "ulimits": [Ulimit(name="fsize", soft=run.largest_file, hard=run.largest_file)] if run.largest_file else [],
        "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}),
    }


def _remove(container: Any) -> None:
    """Remove by force, with its volumes; one that is gone, or that somebody else removes at this moment, is done."""
    import docker.errors

    deadline = time.monotonic() + _REMOVAL_SECONDS  # the engine waits ten for a killed process: a busy one gets longer
    while True:
        try:
            with postponed_interrupt():
                container.remove(force=True, v=True)
            return
        except unreachable() as error:
            if isinstance(error, docker.errors.APIError):
                if is_gone(error):
                    return
                if error.status_code == 500 and time.monotonic() < deadline:
                    time.sleep(1)
                    continue
            raise EngineGoneError(
                f'container "{container.id[:12]}" could not be removed: {error}',
                "The next xgbpatch command that reaches the engine removes it, or `xgbpatch doctor` names it.",
            ) from error


def _auth(credentials: Credentials | None) -> dict[str, str]:
    """Per call, never stored: a stale credential helper would win over a login (docker-py issue 3281)."""
    if credentials is None:
        return {}
    if credentials.identity_token:
        return {"identitytoken": credentials.identity_token}
    return {"username": credentials.username, "password": credentials.password}
