from __future__ import annotations

import os
import re

import pytest
from click.testing import CliRunner

from xgbpatch.commands import init
from xgbpatch.config.loader import load
from xgbpatch.config.settings import KEYS, Flags
from xgbpatch.errors import ConfigurationError

ENVIRON = {"AWS_REGION": "us-west-2"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def uncommented():
    return re.sub(r"^#(?=[^ \n])", "", init.example(), flags=re.M)


def test_init_writes_the_example_and_prints_its_path(folder):
    result = CliRunner().invoke(init.command)
    assert result.stdout == f"{folder / 'xgbpatch.toml'}\n"
    assert (folder / "xgbpatch.toml").read_text() == init.example()


def test_what_init_writes_builds_at_once(folder):
    init.write(folder / "xgbpatch.toml", force=False)
    (spec,) = load(Flags(), ENVIRON, folder)
    assert (spec.version, spec.region, spec.features) == ("3.2-0", "us-west-2", ())


def test_the_example_parses_with_every_setting_switched_on(folder):
    (folder / "xgbpatch.toml").write_text(uncommented())
    for name in ("preprocessing.py", "encoder.py"):
        (folder / name).write_text("")
    (folder / "requirements.txt").write_text("tqdm\n")
    fraud, churn = load(Flags(), {}, folder)
    assert (fraud.name, fraud.version, fraud.aliases) == ("fraud", "1.7-1", ("fraud-prod",))
    assert (churn.version, churn.region, churn.features) == ("3.2-0", "us-west-2", ("shap",))
    assert dict(churn.environment) == {"OMP_NUM_THREADS": "1", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    assert churn.packages == ("category_encoders<3", "tqdm")
    assert [file.target for file in churn.files] == ["mypackage/preprocessing.py"]
    assert [item.module for item in churn.replacements] == ["sagemaker_xgboost_container.encoder"]


@pytest.mark.parametrize("key", KEYS)
def test_the_example_shows_every_setting(key):
    assert re.search(rf"^#?(?:\[*{key}\]*$|{key} = )", init.example(), re.M)


def test_a_file_that_is_there_is_kept(folder):
    path = folder / "xgbpatch.toml"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match=r'xgbpatch\.toml" is there already') as caught:
        init.write(path, force=False)
    assert "--force" in caught.value.next_step
    assert path.read_text() == "mine"


def test_force_replaces_and_leaves_nothing_else(folder):
    (folder / "xgbpatch.toml").write_text("mine")
    assert CliRunner().invoke(init.command, ["--force"]).exit_code == 0
    assert (folder / "xgbpatch.toml").read_text() == init.example()
    assert os.listdir(folder) == ["xgbpatch.toml"]


def test_an_interrupted_write_keeps_the_old_file(folder, monkeypatch):
    path = folder / "xgbpatch.toml"
    path.write_text("mine")
    monkeypatch.setattr(type(path), "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        init.write(path, force=True)
    assert path.read_text() == "mine"
    assert os.listdir(folder) == ["xgbpatch.toml"]


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot write"):
        init.write(tmp_path / "none" / "xgbpatch.toml", force=False)
