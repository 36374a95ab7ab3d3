"""The one door to the Docker Engine: nothing else imports `docker`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors

from xgbpatch.engine import session
from xgbpatch.engine.container import Container
from xgbpatch.engine.failures import UNREACHABLE, EngineGoneError, MissingImageError, is_gone, translated
from xgbpatch.engine.interruption import afterwards, postponed
from xgbpatch.engine.stream import StreamFailure, drain
from xgbpatch.engine.values import Completed, Credentials, EngineInformation, LocalImage, OwnedContainer, Run
from xgbpatch.errors import BuildError, EngineError, RegistryError
from xgbpatch.progress import Progress, Silent
from xgbpatch.reference import ImageReference

_CONTAINERD_STORE = "io.containerd.snapshotter.v1"  # what `docker info` shows as its driver type
_LOST_RACE = "unknown parent image ID"  # a cached step was removed by somebody else while this build stood on it
_TIMEOUT_SECONDS = 1800  # a base is gigabytes; docker-py's own limit is 60 s


@dataclass(frozen=True)
class BuildRequest:
    """A context (an uncompressed tar, Dockerfile at its root) and how it is built; without `tag` it stays nameless."""

    context: IO[bytes]
    platform: str
    tag: ImageReference | None = None
    no_cache: bool = False


class Engine:
    """A reachable Docker Engine. Construct with `Engine.connect()`; usable as a context manager."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Engine:
        """The engine that `DOCKER_HOST` (or the default socket) names; raises `EngineError` where none answers.

        Containers of sessions that were killed before they could remove them are removed now.
        """
        try:
            client = docker.from_env(timeout=_TIMEOUT_SECONDS)
            client.ping()
        except UNREACHABLE as error:
            raise EngineError(
                f'no Docker Engine answers at "{os.environ.get("DOCKER_HOST", "the default socket")}": {error}',
                "Start Docker, or run scripts/engine on Debian; `xgbpatch doctor` tells what is missing.",
            ) from error
        engine = cls(client)
        engine._sweep()
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
        try:
            with translated(f'read image "{reference}"'):
                return _local_image(self._client.images.get(str(reference)).attrs)
        except MissingImageError:
            return None

    def images(self, label: str) -> list[LocalImage]:
        """Images that carry `label` (`name` or `name=value`), newest first."""
        with translated("list images"):
            found = [_local_image(image.attrs) for image in self._client.images.list(filters={"label": label})]
        return sorted(found, key=lambda image: image.created, reverse=True)

    def pull(self, reference: ImageReference, credentials: Credentials | None, progress: Progress) -> LocalImage:
        """Pull by tag or digest; raises `RegistryError` with the registry's own words."""
        wanted = reference.pinned if reference.digest else reference
        try:
            with translated(f'pull "{wanted}"'):
                name, tag = wanted.name, wanted.digest or wanted.tag
                stream = self._client.api.pull(name, tag=tag, stream=True, decode=True, auth_config=_auth(credentials))
                _drain_or_raise(stream, progress, RegistryError(f'could not pull "{wanted}"'))
        except EngineGoneError:
            raise
        except EngineError as error:  # a registry's refusal before the stream begins comes as one of the engine
            raise RegistryError(f'could not pull "{wanted}": {error.message}') from error
        image = self.image(wanted)
        if image is None:
            raise RegistryError(f'"{wanted}" was pulled but the engine does not hold it')
        return image

    def build(self, request: BuildRequest, progress: Progress) -> LocalImage:
        """Build with the classic builder, never pulling; raises `BuildError` with the failing step's message."""
        try:
            aux = self._build(request, progress)
        except BuildError as error:
            if _LOST_RACE not in error.message:
                raise
            aux = self._build(request, progress)
        image = self.image(str(aux.get("ID") or request.tag))
        if image is None:
            raise BuildError("the engine reported a successful build but holds no such image")
        return image

    def _build(self, request: BuildRequest, progress: Progress) -> Mapping[str, Any]:
        request.context.seek(0)
        with translated("build"):
            stream = self._client.api.build(
                fileobj=request.context, custom_context=True, encoding=None, decode=True,
                tag=str(request.tag) if request.tag else None, platform=request.platform, nocache=request.no_cache,
                rm=True, forcerm=True, pull=False,
            )  # fmt: skip
            return _drain_or_raise(stream, progress, BuildError("the build failed"))

    def tag(self, image: str, reference: ImageReference) -> None:
        with translated(f'tag "{image}" as "{reference}"'):
            self._client.api.tag(image, reference.name, reference.tag)

    def remove(self, image: ImageReference | str) -> None:
        """Remove a name (the image goes with its last one), or a nameless image by ID; silent where it is gone."""
        with translated(f'remove "{image}"'):
            try:
                self._client.images.remove(str(image))
            except docker.errors.APIError as error:
                if not is_gone(error):
                    raise

    def push(self, reference: ImageReference, credentials: Credentials | None, progress: Progress) -> str:
        """Push `reference`; returns the manifest digest; raises `RegistryError` with the registry's own words."""
        with translated(f'push "{reference}"'):
            stream = self._client.api.push(
                reference.name, tag=reference.tag, stream=True, decode=True, auth_config=_auth(credentials)
            )
            aux = _drain_or_raise(stream, progress, RegistryError(f'could not push "{reference}"'))
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
                with postponed():
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
                owner=session.describe(container.labels[session.LABEL]),
                life=session.life(container.labels[session.LABEL]),
            )
            for container in self._labelled()
        ]

    def leftovers(self, process: int | None = None) -> list[str]:
        """IDs of containers that this tool (or one `process` of this machine) started and that still exist."""
        return [
            str(container.id)
            for container in self._labelled()
            if process is None or session.names(container.labels[session.LABEL], process)
        ]

    def _sweep(self) -> None:
        for container in self._labelled():
            if session.life(container.labels[session.LABEL]) is session.Life.ENDED:
                _remove(container)

    def _labelled(self) -> list[Any]:
        with translated("list containers"):
            return list(self._client.containers.list(all=True, filters={"label": session.LABEL}, ignore_removed=True))


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
        "labels": {session.LABEL: str(session.current())},
        "detach": True,
    }


def _remove(container: Any) -> None:
    """Remove by force, with its volumes; one that is gone, or that somebody else removes at this moment, is done."""
    try:
        with postponed():
            container.remove(force=True, v=True)
    except UNREACHABLE as error:
        if isinstance(error, docker.errors.APIError) and is_gone(error):
            return
        raise EngineGoneError(
            f'container "{container.id[:12]}" could not be removed: {error}',
            "The next xgbpatch command that reaches the engine removes it, or `xgbpatch doctor` names it.",
        ) from error


def _auth(credentials: Credentials | None) -> dict[str, str]:
    """Per call, never stored: a stale credential helper would win over a login (docker-py issue 3281)."""
    return {"username": credentials.username, "password": credentials.password} if credentials else {}


def _drain_or_raise(stream: Any, progress: Progress, failure: RegistryError | BuildError) -> Mapping[str, Any]:
    try:
        return drain(stream, progress or Silent())
    except StreamFailure as error:
        failure.message += f": {error}"
        failure.args = (failure.message,)
        raise failure from error


def _local_image(attrs: Mapping[str, Any]) -> LocalImage:
    config = attrs.get("Config") or {}
    return LocalImage(
        id=attrs["Id"],
        tags=tuple(attrs.get("RepoTags") or ()),
        repo_digests=tuple(attrs.get("RepoDigests") or ()),
        labels=dict(config.get("Labels") or {}),
        environment=dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair),
        layers=tuple((attrs.get("RootFS") or {}).get("Layers") or ()),
        size=int(attrs.get("Size", 0)),
        created=str(attrs.get("Created", "")),
        architecture=str(attrs.get("Architecture", "")),
    )


def save_log(container: Container, directory: Path, name: str) -> Path:
    """Keep what the container printed, as `directory/name.log`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.log"
    path.write_text(container.stdout() + container.stderr(), encoding="utf-8")
    return path
