"""A test that needs a dependency group is left out by name, and never where scripts/setup has made the environment."""

import pytest

from support import groups


@pytest.fixture(autouse=True)
def missing(monkeypatch):
    monkeypatch.setattr(groups, "GROUPS", {"docs": ("pytest", "no_such_package"), "notebook": ("pytest",)})


def test_a_group_with_a_missing_package_is_left_out(tmp_path):
    assert groups.left_out(tmp_path) == {"docs": "no_such_package"}


def test_nothing_is_left_out_where_setup_installed_all_groups(tmp_path):
    (tmp_path / ".made-from").touch()
    assert groups.left_out(tmp_path) == {}


def test_the_header_says_what_is_left_out_and_why(pytestconfig, monkeypatch):
    conftest = pytestconfig.pluginmanager.get_plugin(str(pytestconfig.rootpath / "tests/conftest.py"))
    monkeypatch.setattr(groups, "left_out", lambda: {"docs": "mkdocs"})
    lines = conftest._left_out(pytestconfig)
    assert 'left out: tests marked group("docs"): mkdocs is missing; scripts/setup installs that group' in lines
