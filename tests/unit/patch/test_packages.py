"""Packages are resolved, fetched and unpacked once; the cached tree is checked at each use."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from support.package_index import index
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.patch.packages import provision
from xgbpatch.progress import Silent
from xgbpatch.spec import Spec

PYTHON = PythonFacts("3.12.8", "/opt/venv/bin/python", "/opt/venv", "/s", "x86_64", "2.34")
FACTS = Facts("sha256:" + "0" * 64, PYTHON, {}, {}, frozenset(), {}, {}, {})
SPEC = replace(Spec(version="3.2-0", region="us-west-2"), packages=("apackage",))
MODULE = "lib/python3.12/site-packages/apackage.py"


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with index(tmp_path / "index", "apackage", "1.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        yield address


def test_a_tree_that_lost_a_module_is_unpacked_again_from_the_kept_wheel(address, tmp_path):
    first = provision(SPEC, FACTS, tmp_path / "cache", Silent())
    (first.folder / MODULE).unlink()
    (wheel,) = (tmp_path / "cache/wheels").rglob("*.whl")
    status = wheel.stat()
    again = provision(SPEC, FACTS, tmp_path / "cache", Silent())
    assert again == first
    assert (wheel.stat().st_ino, wheel.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert (again.folder / MODULE).read_text() == "__version__ = '1.0'\n"


def test_a_cache_that_cannot_be_written_fails_no_build(address, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert (provision(SPEC, FACTS, tmp_path / "cache", Silent()).folder / MODULE).exists()


def test_runs_at_once_all_get_their_packages(address, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: provision(SPEC, FACTS, tmp_path / "cache", Silent()), range(4)))
    assert all((run.folder / MODULE).exists() for run in runs)
    assert len(list((tmp_path / "cache/packages").iterdir())) == 1
