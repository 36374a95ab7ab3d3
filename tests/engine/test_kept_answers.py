"""Facts of an image are cached by its ID and the probe's source; a damaged cache costs time and nothing else."""

from __future__ import annotations

import shutil

import pytest

from xgbpatch.errors import BaseImageError
from xgbpatch.inspection import container

TAKERS = {"facts": container.inspect, "inventory": container.list_files}


@pytest.fixture(scope="module")
def image(engine, base_of):
    image = engine.image(base_of("1.5-1"))
    assert image is not None
    return image


@pytest.fixture(scope="module", params=TAKERS)
def inspection(request, engine, image, builder, tmp_path_factory):
    """A function that inspects, its answer, and a cache folder with that alone.

    Where another file of the run has asked before, the answer is that one's.
    """
    folder = tmp_path_factory.mktemp(request.param)
    take = TAKERS[request.param]
    answer = take(engine, image, builder.cache / "facts")
    suffix = {"facts": "", "inventory": ".files"}[request.param]
    (path,) = (builder.cache / "facts").glob(f"{image.id[7:]}-????????{suffix}.json.gz")
    shutil.copy(path, folder)
    return take, answer, folder


@pytest.fixture
def folder(inspection, tmp_path):
    """A copy of the cache folder, to be spoilt."""
    return shutil.copytree(inspection[2], tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_no_failure(engine, image, inspection, tmp_path):
    take, answer, _ = inspection
    (tmp_path / "cache").write_text("in the way")
    assert take(engine, image, tmp_path / "cache" / "facts") == answer


def test_a_damaged_file_is_found_out_again_and_mended(engine, image, inspection, folder):
    take, answer, _ = inspection
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(b'{"python": 5}')
    assert take(engine, image, folder) == answer
    assert path.read_bytes() == whole


def test_what_is_kept_is_read(engine, image, inspection, folder):
    take, answer, _ = inspection
    (path,) = folder.iterdir()
    before = path.stat().st_ino
    assert take(engine, image, folder) == answer
    assert path.stat().st_ino == before


def test_another_probe_is_asked_anew(engine, image, inspection, folder, monkeypatch):
    source = container.probe_source
    monkeypatch.setattr(container, "probe_source", lambda script: f"{source(script)}\n# another one\n")
    inspection[0](engine, image, folder)
    assert len(list(folder.iterdir())) == 2


def test_a_python_that_prints_at_its_start_is_named(engine, image, inspection, tmp_path, monkeypatch):
    source = container.probe_source
    monkeypatch.setattr(container, "probe_source", lambda script: f"print('Welcome!')\n{source(script)}")
    with pytest.raises(BaseImageError, match='printed "Welcome!" on stdout') as refused:
        inspection[0](engine, image, tmp_path)
    assert "stderr" in refused.value.next_step
    assert not list(tmp_path.iterdir())
