"""The build context is the same bytes for the same patch, wherever and whenever it is packed."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from xgbpatch.build import dockerfile
from xgbpatch.patch import compose
from xgbpatch.patch.compose import Patch, PatchFile, tree


def packed_bytes(patch: Patch) -> bytes:
    with dockerfile.packed_context("FROM scratch\n", patch) as stream:
        return stream.read()


@pytest.fixture
def patch(tmp_path) -> Patch:
    script = tmp_path / "script.py"
    script.write_text("print(1)\n")
    files = (PatchFile("/opt/xgbpatch/bin/serve", b"#!x\n", True), PatchFile("/opt/xgbpatch/lib/a/script.py", script))
    return Patch(files, {})


def test_members_are_sorted_owned_by_root_and_without_times(patch):
    with dockerfile.packed_context("FROM scratch\n", patch) as stream, tarfile.open(fileobj=stream) as archive:
        members = archive.getmembers()
    assert [(member.name, oct(member.mode)) for member in members] == [
        ("Dockerfile", "0o644"),
        ("xgbpatch", "0o755"),
        ("xgbpatch/bin", "0o755"),
        ("xgbpatch/lib", "0o755"),
        ("xgbpatch/lib/a", "0o755"),
        ("xgbpatch/bin/serve", "0o755"),
        ("xgbpatch/lib/a/script.py", "0o644"),
    ]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 0)}


def test_times_and_modes_of_this_machine_do_not_show(patch):
    before = packed_bytes(patch)
    path = patch.files[1].content
    os.utime(path, (1, 1))
    os.chmod(path, 0o600)
    assert packed_bytes(patch) == before


def test_content_does_show(patch):
    before = packed_bytes(patch)
    patch.files[1].content.write_text("print(2)\n")
    assert packed_bytes(patch) != before


def test_tree_leaves_caches_out_and_keeps_the_execute_bit(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "a.py").write_text("")
    assert [(file.target, file.executable) for file in tree(tmp_path, "/opt/xgbpatch/lib")] == [
        ("/opt/xgbpatch/lib/a.py", False),
        ("/opt/xgbpatch/lib/run", True),
    ]


def test_the_overlays_own_files_are_the_same_whatever_modes_a_checkout_has(tmp_path, monkeypatch):
    before = compose.overlay_digest()
    copied = shutil.copytree(Path(compose.__file__).parent.parent / "overlays", tmp_path / "overlays")
    for path in copied.rglob("*"):
        path.chmod(0o777)
    monkeypatch.setattr(compose, "files", lambda package: tmp_path)
    assert compose.overlay_digest() == before
