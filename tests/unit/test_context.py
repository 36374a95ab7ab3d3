"""The build context is the same bytes for the same patch, wherever and whenever it is packed."""

import os
import tarfile
import tempfile

import pytest

from xgbpatch import context
from xgbpatch.errors import BuildError
from xgbpatch.patch import Patch, PatchFile, tree


def packed_bytes(patch: Patch) -> bytes:
    with context.packed("FROM scratch\n", patch) as stream:
        return stream.read()


@pytest.fixture
def patch(tmp_path) -> Patch:
    script = tmp_path / "script.py"
    script.write_text("print(1)\n")
    files = (PatchFile("/opt/xgbpatch/bin/serve", b"#!x\n", True), PatchFile("/opt/xgbpatch/lib/a/script.py", script))
    return Patch(files, {})


def test_members_are_sorted_owned_by_root_and_without_times(patch):
    with context.packed("FROM scratch\n", patch) as stream, tarfile.open(fileobj=stream) as archive:
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


def test_a_full_disk_is_a_build_error_and_leaves_no_file(patch, tmp_path, monkeypatch):
    class Full:
        def __init__(self, stream):
            self._stream = stream

        def __getattr__(self, name):
            return getattr(self._stream, name)

        def write(self, data):
            raise OSError(28, "No space left on device")

    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(context.tempfile, "TemporaryFile", lambda **options: _Opened(Full(real(**options))))
    with pytest.raises(BuildError, match="No space left on device"), context.packed("FROM scratch\n", patch):
        pass
    assert not list(tmp_path.glob("xgbpatch-context-*"))


class _Opened:
    def __init__(self, stream):
        self._stream = stream

    def __enter__(self):
        return self._stream

    def __exit__(self, *error):
        self._stream.close()


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
