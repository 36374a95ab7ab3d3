"""A model's archive is read without an engine: what the feature `training` left in it, and no more than it may hold."""

import gzip
import io
import json
import struct
import tarfile
import zipfile

import pytest
from click.testing import CliRunner

from support.layers import tar_of
from xgbpatch.commands.inspect import command
from xgbpatch.contract.payloads import npy_float32
from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection import model_archive

RECORD = {"xgboost": "3.2.0", "base": "b@sha256:1", "objective": "reg:squarederror", "features": 2, "rounds": [7]}
IMPORTANCE = {"split": "validation", "rows": 20, "features": [{"name": "b", "importance": 1.5}]}
BESIDE = {
    "record.json": json.dumps(RECORD).encode(),
    "feature_names.json": b'["a", "b"]',
    "background.npy": npy_float32([(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]),
    "importance.json": json.dumps(IMPORTANCE).encode(),
}


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files, prefix=""):
    return gzip.compress(tar_of([(prefix + name, data) for name, data in files.items()]))


HIDDEN = {"xgboost-model": b"model", model_archive.HIDDEN: zipped(BESIDE)}
FOLDER = {"xgboost-model": b"model", **{f"xgbpatch/{name}": data for name, data in BESIDE.items()}}


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "model.tar.gz"


@pytest.mark.parametrize("files", [HIDDEN, FOLDER], ids=["file", "folder"])
@pytest.mark.parametrize("prefix", ["", "./"], ids=["plain", "dotted"])
def test_the_file_of_today_and_the_folder_of_before_are_read(archive, files, prefix):
    archive.write_bytes(tarred(files, prefix))
    assert model_archive.read(archive) == model_archive.ModelArchive({"xgboost-model": 5}, BESIDE)
    archive.write_bytes(gzip.decompress(archive.read_bytes()))
    assert model_archive.read(archive).beside == BESIDE


@pytest.mark.parametrize("files", [HIDDEN, FOLDER], ids=["file", "folder"])
def test_a_model_folder_is_read_alike(tmp_path, files):
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert model_archive.read(tmp_path) == model_archive.ModelArchive({"xgboost-model": 5}, BESIDE)


def test_what_stands_in_the_folder_counts_first(archive):
    archive.write_bytes(tarred({**HIDDEN, "xgbpatch/feature_names.json": b'["c", "d"]'}))
    assert model_archive.read(archive).document("feature_names.json", list) == ["c", "d"]
    assert model_archive.read(archive).document("record.json", dict) == RECORD


def header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x1f\x8b", id="gzip cut off"),
        pytest.param(b"no archive at all" * 99, id="no tar"),
        pytest.param(tarred(HIDDEN)[:200], id="cut off"),
        pytest.param(gzip.compress(header("xgboost-model", 2**60) + bytes(512)), id="a member that claims 2**60 bytes"),
        pytest.param(header("xgboost-model", 2**60) + bytes(512), id="the same, not packed"),
        pytest.param(
            gzip.compress(header("long", 2**60, tarfile.GNUTYPE_LONGNAME)), id="a name that claims 2**60 bytes"
        ),
        pytest.param(gzip.compress(header("pax", 2**60, tarfile.XHDTYPE)), id="a header that claims 2**60 bytes"),
        pytest.param(tarred({model_archive.HIDDEN: b"no zip"}), id="no zip"),
        pytest.param(gzip.compress(header(model_archive.HIDDEN, 2**40)), id="ours claims 2**40 bytes"),
    ],
)
def test_a_damaged_archive_is_refused_by_name(archive, content):
    archive.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r'model\.tar\.gz" is no model archive'):
        model_archive.read(archive)


def test_a_zip_that_claims_more_than_it_may_is_not_unpacked(archive):
    packed = zipped({"record.json": b" " * 100})
    huge = packed.replace(struct.pack("<LL", 100, 100), struct.pack("<LL", 100, 2**31))
    assert huge != packed
    archive.write_bytes(tarred({model_archive.HIDDEN: huge}))
    with pytest.raises(ConfigurationError, match="holds more than"):
        model_archive.read(archive)


def test_inspect_shows_it_without_an_engine(archive, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    archive.write_bytes(tarred(HIDDEN))
    result = CliRunner().invoke(command, [str(archive)], catch_exceptions=False)
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines())
    assert lines["models"] == "xgboost-model (5 bytes)"
    assert lines["xgboost"] == "3.2.0"
    assert lines["names"] == "a, b"
    assert lines["background"] == "3 x 2"
    assert lines["importance"] == "b 1.5 (20 rows of validation)"
    document = json.loads(CliRunner().invoke(command, [str(archive), "--json"], catch_exceptions=False).output)
    assert document == {
        "models": {"xgboost-model": 5}, "files": sorted(BESIDE), "record": RECORD, "feature_names": ["a", "b"],
        "importance": IMPORTANCE, "background": [3, 2],
    }  # fmt: skip


def test_inspect_of_a_model_alone_says_that_nothing_stands_beside_it(archive):
    archive.write_bytes(tarred({"xgboost-model": b"model"}))
    assert "nothing of the feature training" in CliRunner().invoke(command, [str(archive)]).output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("record.json", b"[" * 100_000), ("record.json", b'["no object"]'), ("feature_names.json", b'{"a": 1}'),
        ("importance.json", b'{"features": 7}'), ("importance.json", b'{"features": [{"name": "a"}]}'),
        ("background.npy", b"no array"),
    ],
)  # fmt: skip
def test_inspect_names_a_file_that_is_not_what_it_should_be(archive, name, content):
    archive.write_bytes(tarred({model_archive.HIDDEN: zipped({**BESIDE, name: content})}))
    result = CliRunner().invoke(command, [str(archive)])
    assert isinstance(result.exception, ConfigurationError)
    assert name in result.exception.message


def test_inspect_of_a_file_that_is_not_there_exits_2(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "model.tar.gz")])
    assert isinstance(result.exception, ConfigurationError)
    assert "there is no file" in result.exception.message
