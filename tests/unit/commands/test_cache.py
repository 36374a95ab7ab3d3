"""`xgbpatch cache` shows what is kept and deletes it, but nothing that a running process uses."""

import json
import subprocess
import sys

import pytest

from support.commands import completed_in_process, xgbpatch


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache that holds two wheels, an unpacked tree, and what a test of a checkout kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "xgbpatch"
    for name, size in {"wheels/0/a.whl": 10, "wheels/1/b.whl": 20, "packages/0/files/a.so": 40, "zoo/m": 5}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"x" * size)
    return folder


def test_every_kind_is_shown_with_its_size_entries_and_folder(folder):
    document = json.loads(completed_in_process("cache", "--json").stdout)
    assert (document["folder"], document["bytes"]) == (str(folder), 75)
    assert [(row["kind"], row["entries"], row["bytes"], row["folder"]) for row in document["kinds"]] == [
        ("packages", 1, 40, str(folder / "packages")),
        ("wheels", 2, 30, str(folder / "wheels")),
        ("zoo", 1, 5, str(folder / "zoo")),
    ]
    output = completed_in_process("cache").stdout
    assert str(folder) in output
    assert "downloaded packages" in output
    assert max(map(len, output.splitlines()[1:])) <= 80


@pytest.mark.parametrize(
    ("names", "left"),
    [
        pytest.param((), ["zoo"], id="all of xgbpatch's own"),
        pytest.param(("wheels",), ["packages", "zoo"], id="a kind"),
        pytest.param(("zoo", "zoo"), ["packages", "wheels"], id="a test's, by name"),
    ],
)
def test_it_is_deleted_with_apply_and_only_said_without(folder, names, left):
    def kept():
        return sorted(kind.name for kind in folder.iterdir() if any(kind.iterdir()))

    preview = completed_in_process("cache", "clear", *names)
    assert "--apply does it" in preview.stdout
    assert kept() == ["packages", "wheels", "zoo"]
    completed = completed_in_process("cache", "clear", *names, "--apply")
    assert (completed.returncode, kept()) == (0, left)
    assert "Nothing to delete." in completed_in_process("cache", "clear", *names).stdout


def test_what_a_running_process_uses_stays_and_is_named(folder):
    program = "import sys, pathlib; from xgbpatch import cache; cache.hold(pathlib.Path(sys.argv[1])); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, folder / "packages"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        completed = xgbpatch("cache", "clear", "--apply")
        process.communicate(b"\n")
    assert completed.returncode == 2
    assert "uses packages" in completed.stderr
    assert (folder / "packages/0/files/a.so").exists()
    assert not list((folder / "wheels").iterdir())
    assert xgbpatch("cache", "clear", "--apply").returncode == 0
    assert not list((folder / "packages").iterdir())


def test_a_kind_that_is_none_is_named_with_the_nearest(folder):
    completed = completed_in_process("cache", "clear", "wheel", "--apply")
    assert completed.returncode == 2
    assert 'Did you mean "wheels"?' in completed.stderr


def test_a_cache_that_is_not_there_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "holds nothing" in completed_in_process("cache").stdout
    assert completed_in_process("cache", "clear", "--apply").stdout == "Nothing to delete.\n"
    assert json.loads(completed_in_process("cache", "--json").stdout)["kinds"] == []
