"""The owner of a container: no other process is taken for it, and one that cannot be seen is not called dead."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.engine import ownership
from xgbpatch.engine.ownership import Life, Owner

STAT = "17 ({}) {} 1 17 17 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 7654321 1000 200 18446744073709551615 1 1 0"
FIELDS = st.text(st.characters(exclude_characters="/", codec="utf-8"), max_size=40)


@given(host=st.text(max_size=70), boot=FIELDS, namespaces=FIELDS, pid=st.integers(1, 4194304), start=FIELDS)
def test_label_names_its_process_again(host, boot, namespaces, pid, start):
    owner = Owner(host, boot, namespaces, pid, start)
    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize(
    "label",
    ["", "1", "vm:1", "vm:4194304", "a/b/c", "vm/boot/1,2/0/5", "vm/boot/1,2/-1/5", "vm/boot/1,2/²/5",
     "vm/boot/1,2/1 /5", "vm/boot/1,2/99999999999999999999/5"],
)  # fmt: skip
def test_other_labels_name_nobody_and_nobody_is_gone(label):
    assert Owner.parse(label) is None
    assert ownership.life(label) is Life.UNKNOWN
    assert not ownership.names(label, 1)
    assert label in ownership.describe(label)


@pytest.mark.parametrize(
    ("stat", "start"),
    [
        (STAT.format("python3", "S"), "7654321"),
        (STAT.format("tmux: server", "S"), "7654321"),
        (STAT.format("a) R 1 2 (b", "R"), "7654321"),
        (STAT.format("two\nlines", "D"), "7654321"),
        (STAT.format("python3", "Z"), ""),
        (STAT.format("python3", "X"), ""),
        ("17 (python3) S 1 17", None),
        ("", None),
    ],
    ids=["plain", "space", "parentheses", "newline", "zombie", "dead", "cut off", "empty"],
)
def test_start_is_field_22_of_stat(stat, start):
    assert ownership.start_of(stat) == start


def test_this_process_runs():
    assert ownership.life(str(ownership.current())) is Life.RUNNING
    assert ownership.names(str(ownership.current()), os.getpid())


@pytest.mark.parametrize(
    ("change", "life"),
    [
        ({"start": "1"}, Life.ENDED),
        ({"pid": 999_999_999}, Life.ENDED),  # beyond any pid_max
        ({"boot": "00000000-0000-0000-0000-000000000000"}, Life.UNKNOWN),
        ({"namespaces": "1,2"}, Life.UNKNOWN),
        ({"namespaces": "1,2", "pid": 999_999_999}, Life.UNKNOWN),
        ({"start": ""}, Life.UNKNOWN),
        ({"boot": "", "namespaces": "", "pid": 999_999_999}, Life.UNKNOWN),
        ({"host": "renamed"}, Life.RUNNING),
    ],
    ids=["number reused", "no such process", "other boot", "other namespace", "other namespace and no such process",
         "start unknown", "no /proc", "host renamed"],
)  # fmt: skip
def test_process_is_judged_by_boot_namespaces_number_and_start(change, life):
    assert ownership.life(str(replace(ownership.current(), **change))) is life


def test_nobody_is_gone_for_a_system_without_proc(monkeypatch, tmp_path):
    owner_of_this = ownership.current()
    monkeypatch.setattr(ownership, "_PROC", tmp_path)
    assert (ownership.current().boot, ownership.current().start) == ("", "")
    for owner in (
        owner_of_this,
        ownership.current(),
        replace(owner_of_this, pid=999_999_999),
        replace(ownership.current(), pid=999_999_999),
    ):
        assert ownership.life(str(owner)) is Life.UNKNOWN


def test_process_that_proc_hides_is_not_gone(monkeypatch, tmp_path):
    """As with hidepid=2, for another user's: a signal reaches somebody, /proc names nobody."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/ns").symlink_to("/proc/self/ns")
    (tmp_path / "self/status").symlink_to("/proc/self/status")
    (tmp_path / "sys").symlink_to("/proc/sys")
    owner = ownership.current()
    monkeypatch.setattr(ownership, "_PROC", tmp_path)
    assert owner.here
    assert ownership.life(str(owner)) is Life.UNKNOWN
