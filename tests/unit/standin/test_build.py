"""Making stand-in bases: what needs no engine."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

from xgbpatch.progress import Silent
from xgbpatch.standin import build


def test_two_builds_at_once_take_turns(monkeypatch, tmp_path):
    """The second finds what the first made; at once, each would make all of it and remove the other's as superseded."""
    both = Barrier(2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_os_image", lambda *_: both.wait(timeout=1))
    monkeypatch.setattr(build, "_runtime", lambda *_: None)
    monkeypatch.setattr(build, "_image", lambda *_: None)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(build.build_standin, None, "3.2-0", Silent()) for _ in range(2)]
    assert [type(run.exception()) for run in runs] == [BrokenBarrierError, BrokenBarrierError], "they met"
