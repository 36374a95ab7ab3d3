"""The engine's resolver keeps the hosts file for some seconds: `up` waits until it knows its names."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.bases import RUN_ID
from support.registries import USER, LoopbackRegistry
from xgbpatch.engine.client import Engine
from xgbpatch.errors import RegistryError, SandboxError
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.sandbox import hosts, lifecycle
from xgbpatch.sandbox.state import RegistryHost

HOSTS = Path("/etc/hosts")
NAME = f"late-name-{RUN_ID}.xgbpatch.test"


@contextmanager
def tagged(engine: Engine, image: str, reference: ImageReference) -> Iterator[None]:
    engine.tag(image, reference)
    try:
        yield
    finally:
        engine.remove(reference)


def test_wait_ends_once_the_engine_knows_a_name_that_is_written_late(
    engine: Engine, plain: LoopbackRegistry, make_image, tmp_path: Path
):
    port = plain.host.rpartition(":")[2]
    reference = ImageReference.parse(f"{NAME}:{port}/late/image:1")
    line = RegistryHost(NAME, "127.0.0.1", port, "us-west-2")
    writer = threading.Timer(3, hosts.write, (HOSTS, tmp_path, (line,)))
    with tagged(engine, make_image().id, reference):
        with pytest.raises(RegistryError, match="no such host"):
            engine.push(reference, USER, Silent())
        writer.start()
        try:
            started = time.monotonic()
            lifecycle.wait_until_known(engine, ImageReference(reference.host, "late/none", "1"), USER)
            assert time.monotonic() - started >= 3
            assert engine.push(reference, USER, Silent()).startswith("sha256:")
        finally:
            writer.join()
            hosts.write(HOSTS, tmp_path, ())
    assert plain.tags("late/image") == ["1"]


def test_registry_that_answers_is_asked_once(engine: Engine, plain: LoopbackRegistry, monkeypatch):
    monkeypatch.setattr(lifecycle.time, "sleep", lambda seconds: pytest.fail("asked again"))
    lifecycle.wait_until_known(engine, plain.reference("no/such-image:1"), USER)


def test_name_that_stays_unknown_is_named(engine: Engine, monkeypatch):
    monkeypatch.setattr(lifecycle, "_START_SECONDS", 0.0)
    with pytest.raises(SandboxError, match=NAME) as raised:
        lifecycle.wait_until_known(engine, ImageReference(NAME, "no/such-image", "1"), USER)
    assert "hosts file" in raised.value.next_step
