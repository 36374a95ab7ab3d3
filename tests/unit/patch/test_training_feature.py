"""The feature `training` on the host: its page in docs/, and the variables that the image gets."""

import re
from pathlib import Path

from xgbpatch.config.fields import RESERVED
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.overlays import settings
from xgbpatch.overlays.training import options
from xgbpatch.patch.compose import compose
from xgbpatch.spec import Spec

PAGE = Path(__file__).resolve().parents[3] / "docs" / "training.md"
BASE = "registry.example/base:1.5-1@sha256:" + "ab" * 32


def environment(*features):
    python = PythonFacts("3.12.1", "/opt/venv/bin/python", "/opt/venv", "/s", "x86_64", "2.34")
    facts = Facts("sha256:0", python, {}, {}, frozenset(), {}, {"PATH": "/usr/bin"}, {})
    spec = Spec("3.2-0", "", features=features)
    return dict(compose(spec, facts, base=BASE, release="0.3.0").environment)


def test_the_page_lists_every_hyperparameter_as_the_table_does():
    rows = re.findall(
        r"^\| `(xgbpatch_\w+)` \| (.*?) \| `?(\d*)`? ?\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M
    )
    defaults = options.TrainingOptions()
    assert rows == [
        (row.name, row.allowed, default(getattr(defaults, row.field)), row.meaning) for row in options.TABLE
    ]


def default(value):
    return str(value) if isinstance(value, int) else ""


def test_an_image_with_the_feature_knows_its_base_and_the_xgbpatch_that_made_it():
    variables = environment("training")
    assert (variables["XGBPATCH_BASE"], variables["XGBPATCH_RELEASE"]) == (BASE, "0.3.0")
    assert settings.read(variables).guarded
    assert {"XGBPATCH_BASE", "XGBPATCH_RELEASE"} <= set(RESERVED)


def test_an_image_without_it_does_not_name_them():
    for variables in (environment(), environment("shap")):
        assert not {"XGBPATCH_BASE", "XGBPATCH_RELEASE"} & set(variables)
        assert not settings.read(variables).guarded
