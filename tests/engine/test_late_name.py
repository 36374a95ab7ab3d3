"""The engine's resolver keeps the hosts file for some seconds: a push to a name that has just been written waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.registries import USER, LoopbackRegistry
from xgbpatch.engine.client import Engine
from xgbpatch.errors import RegistryError
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.sandbox import hosts, lifecycle
from xgbpatch.sandbox.state import RegistryHost

HOSTS = Path("/etc/hosts")
NAME = "late-name.xgbpatch.test"


@contextmanager
def tagged(engine: Engine, image: str, reference: ImageReference) -> Iterator[None]:
    engine.tag(image, reference)
    try:
        yield
    finally:
        engine.remove(reference)


def test_push_waits_for_a_name_that_is_written_while_it_tries(
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
            digest = lifecycle.push_when_known(engine, reference, (USER, Silent()))
        finally:
            writer.join()
            hosts.write(HOSTS, tmp_path, ())
    assert digest.startswith("sha256:")
    assert plain.tags("late/image") == ["1"]
    assert time.monotonic() - started >= 3


def test_another_refusal_is_not_asked_again(engine: Engine, plain: LoopbackRegistry):
    started = time.monotonic()
    with pytest.raises(RegistryError):
        lifecycle.push_when_known(engine, plain.reference("no/such-image:1"), (USER, Silent()))
    assert time.monotonic() - started < 2
