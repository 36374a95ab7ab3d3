"""Models of old xgboosts are converted to JSON and UBJSON: the newest predicts the same, or nothing is written."""

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from support import old_models
from support.commands import xgbpatch
from support.documentation import commands, run_by
from support.layers import tar_of
from xgbpatch.commands.convert_model import require_same_kind
from xgbpatch.conversion import convert, converted_name, source
from xgbpatch.errors import ConfigurationError, ConversionError, UnequalModelError
from xgbpatch.inspection.model_file import Format, format_of

MODELS = {
    "1.2.0": ("logitraw", "forest-softprob"),
    "1.5.2": ("gblinear-binary", "dart-softprob", "early-stopping"),
    "1.7.4": ("categorical-binary",),
    "3.2.0": ("softprob",),  # with a base score for each class, which older ones do not have
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(xgboost, name) → a model file that it wrote."""
    folder = tmp_path_factory.mktemp("old")
    written = {version: old_models.write(version, folder / version, *names) for version, names in MODELS.items()}
    return {(version, name): path for version, paths in written.items() for name, path in paths.items()}


def converted(path, to, folder, reader, target="3.2.0", best=False):
    folder.mkdir()
    with source.opened(path) as opened:
        return convert(
            opened.models[0], f"out.{to}", to, reader=old_models.environment(reader),
            target=old_models.environment(target), folder=folder, best=best,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("version", "name", "to", "note"),
    [
        ("1.2.0", "logitraw", "json", "takes the base score of this model otherwise"),
        ("1.2.0", "forest-softprob", "ubj", ""),
        ("1.5.2", "early-stopping", "json", "--best-rounds keeps these alone"),
        ("1.7.4", "categorical-binary", "ubj", ""),
    ],
)
def test_a_model_of_an_old_xgboost_is_the_same_in_the_newest(files, tmp_path, version, name, to, note):
    conversion = converted(files[version, name], to, tmp_path / "work", version)
    assert (conversion.read_by, conversion.proved_by) == (version, "3.2.0")
    assert conversion.reached == conversion.leaves
    assert conversion.rows >= max(64, conversion.leaves)
    assert note in " ".join(conversion.notes)
    assert bool(note) is bool(conversion.notes)


def test_the_best_rounds_alone_predict_as_the_old_server_did(files, tmp_path):
    conversion = converted(files["1.5.2", "early-stopping"], "json", tmp_path / "work", "1.5.2", best=True)
    learner = json.loads(conversion.content)["learner"]
    best = int(learner["attributes"]["best_iteration"]) + 1
    assert len(learner["gradient_booster"]["model"]["trees"]) == best < conversion.leaves
    assert f"what is kept is the best {best} of" in conversion.notes[0]


def test_what_another_xgboost_would_predict_otherwise_is_refused_with_the_difference(files, tmp_path):
    with pytest.raises(UnequalModelError, match=r"(?s)in xgboost 1\.7\.4 as in 3\.2\.0.*differ, such as") as refused:
        converted(files["3.2.0", "softprob"], "json", tmp_path / "work", "3.2.0", target="1.7.4")
    assert refused.value.exit_code == 18


def test_a_file_that_is_cut_off_is_told_with_the_words_of_xgboost(files, tmp_path):
    (tmp_path / "model").write_bytes(files["1.2.0", "forest-softprob"].read_bytes()[:3000])
    with pytest.raises(ConversionError, match=r"xgboost 1\.2\.0 ended with .*[Cc]heck failed"):
        converted(tmp_path / "model", "json", tmp_path / "work", "1.2.0")


def test_an_environment_that_was_used_is_whole_and_keeps_its_byte_code(files):
    environment = old_models.environment("1.2.0")
    assert list(environment.folder.glob("xgboost/__pycache__/*.pyc"))
    before = environment.folder.stat().st_ino
    assert old_models.environment("1.2.0").folder.stat().st_ino == before


def archive(path, members):
    path.write_bytes(gzip.compress(tar_of([*members.items()], mode=0o640, mtime=5)))
    return path


def test_the_commands_of_the_page_convert_a_file_an_archive_and_a_folder(files, tmp_path, monkeypatch):
    """An archive keeps all but its models."""
    monkeypatch.chdir(tmp_path)
    model, darts = files["1.5.2", "gblinear-binary"], files["1.5.2", "dart-softprob"].read_bytes()
    besides = {".xgbpatch.zip": b"PK", "requirements.txt": b"numpy\n", "./code/inference.py": b"pass\n"}
    archive(tmp_path / "model.tar.gz", {"xgboost-model": darts, **besides})
    (tmp_path / "models").mkdir()
    for path in (tmp_path / "xgboost-model", tmp_path / "models/xgboost-model"):
        path.write_bytes(model.read_bytes())
    ((first, *more),) = ([*commands(block.script)] for block in run_by(__file__, "docs/convert-model.md"))
    for words in (first, *more):
        completed = xgbpatch(*words[1:], *([] if "--json" in words else ["--json"]))
        assert completed.returncode == 0, completed.stderr
        (about,) = json.loads(completed.stdout)["models"]
        assert (about["format"], about["written_by"], about["read_by"]) == ("binary", "1.5", "1.5.2")
        assert "bit for bit" in completed.stderr
    learner = json.loads((tmp_path / "model.json").read_text())["learner"]
    assert (
        learner["gradient_booster"]["model"]["boosted_rounds"] == 8
    )  # else xgboost 3 adds the base score as it stands
    assert json.loads((tmp_path / "converted/xgboost-model").read_text())["learner"] == learner
    with tarfile.open("model.tar.gz") as before, tarfile.open("converted.tar.gz") as after:
        assert [member.name for member in after] == [member.name for member in before]
        assert {(member.mtime, member.mode) for member in after} == {(5, 0o640)}
        contents = {name: after.extractfile(name).read() for name in ("xgboost-model", *besides)}
    assert format_of(contents.pop("xgboost-model")) is Format.UBJSON
    assert contents == besides
    again = xgbpatch(*first[1:])
    assert (again.returncode, "--force" in again.stderr) == (2, True)


# Where models lie, without any xgboost.


@pytest.mark.parametrize(("model", "out"), [("model.tar.gz", "model.json"), ("model.json", "model.tgz")])
def test_a_name_of_another_kind_of_file_is_refused(tmp_path, model, out):
    (tmp_path / "model.json").write_text('{"learner": {}, "version": [3, 2, 0]}')
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model.json", "xgboost-model")
    with source.opened(tmp_path / model) as opened, pytest.raises(ConfigurationError, match="archive"):
        require_same_kind(opened, tmp_path / out)


def test_a_folder_is_written_beside_and_put_in_place_at_once(tmp_path):
    model = b'{"learner":{}, "version":[1,7,4]}'
    for name, content in {"model.bin": model, ".hidden": b"1", "code/a.py": b"2"}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_bytes(b"")
    with source.opened(tmp_path / "in") as opened:
        assert [each.name for each in opened.models] == ["model.bin"]
        changed = {"model.bin": ("model.json", b"new")}
        with pytest.raises(ConfigurationError, match="there already"):
            source.write(opened, tmp_path / "out", changed, force=False)
        source.write(opened, tmp_path / "out", changed, force=True)
    paths = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert paths == {"model.json", ".hidden", "code", "code/a.py"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("kind", ["text", "archive", "missing", "damaged"])
def test_what_holds_no_model_is_refused_with_what_it_holds(tmp_path, kind):
    (tmp_path / "text").write_bytes(b"hello\n")
    archive(tmp_path / "archive", {"model/xgboost-model": b"x", "README.md": b"y"})
    (tmp_path / "damaged").write_bytes((tmp_path / "archive").read_bytes()[:60])
    says = {"text": "holds: text", "archive": "holds: model/xgboost-model, README.md", "missing": "there is no file"}
    completed = xgbpatch("convert-model", str(tmp_path / kind), str(tmp_path / "out"))
    assert completed.returncode == 2, completed.stderr
    assert says.get(kind, '"') in completed.stderr
    assert not Path(tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("xgboost-model", "xgboost-model"),
        ("xgboost-model.1", "xgboost-model.1"),
        ("a.pkl", "a.ubj"),
        ("a.b.json", "a.b.ubj"),
    ],
)
def test_a_suffix_that_tells_of_a_format_is_changed(name, new):
    assert converted_name(name, "ubj") == new
