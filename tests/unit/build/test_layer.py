"""The layer of a patch is the same bytes wherever and whenever it is made, and holds nothing but the patch."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.build import dockerfile, layer
from xgbpatch.build.layer import GzipWriter
from xgbpatch.errors import BuildError
from xgbpatch.oci.manifest import DOCKER_LAYER
from xgbpatch.patch.compose import Patch, PatchFile

LONG = "a" * 70
FILES = (
    PatchFile("/opt/xgbpatch/bin/serve", b"#!/opt/venv/bin/python3.12\n", executable=True),
    PatchFile("/opt/xgbpatch/lib/xgbpatch_overlays/__init__.py", b""),
    PatchFile(f"/opt/xgbpatch/packages/{LONG}/{LONG}/f\u00fcnf.py", b"five = 5\n" * 10_000),
)
GOLDEN_DIFF_ID = "sha256:fe3a25c6bbc5bda01a8c260c9caa30b89b0d2c2415e7251749e7729fdf6d76b3"
GOLDEN_DIGEST = "sha256:0cb440c81a175a0553100f62a100fcd5c0a34fcc3d79368e6c2298bf01c782c9"


def blob_of(patch: Patch) -> bytes:
    with layer.packed_layer(patch) as blob, blob.opened() as stream:
        content = stream.read()
        assert blob.descriptor.size == len(content)
        assert blob.descriptor.media_type == DOCKER_LAYER
        assert blob.descriptor.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert blob.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    return content


def members_of(blob: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        return archive.getmembers()


def test_the_layer_of_a_fixed_patch_has_fixed_digests():
    """Should this fail after a change of ours, every user's images change digest: say so in the changelog."""
    with layer.packed_layer(Patch(FILES, {})) as blob:
        assert (blob.diff_id, blob.descriptor.digest) == (GOLDEN_DIFF_ID, GOLDEN_DIGEST)


def test_a_layer_too_large_to_be_stored_has_a_fixed_diff_id_and_is_compressed():
    large = (PatchFile("/opt/xgbpatch/lib/large", b"0123456789abcdef" * (layer.STORED_BYTES // 16 + 1)),)
    with layer.packed_layer(Patch(large, {})) as blob:
        assert blob.diff_id == "sha256:5584992e58fad09e336ca927c0eae1a0a5401f651d94861d03e4f26636480c06"
        assert blob.descriptor.size < layer.STORED_BYTES / 10


def test_members_are_the_folders_below_opt_and_the_files_without_traces_of_this_machine():
    members = members_of(blob_of(Patch(FILES, {})))
    packages = "opt/xgbpatch/packages"
    assert [(member.name, member.isdir(), oct(member.mode)) for member in members] == [
        ("opt/xgbpatch", True, "0o755"),
        ("opt/xgbpatch/bin", True, "0o755"),
        ("opt/xgbpatch/lib", True, "0o755"),
        ("opt/xgbpatch/lib/xgbpatch_overlays", True, "0o755"),
        (packages, True, "0o755"),
        (f"{packages}/{LONG}", True, "0o755"),
        (f"{packages}/{LONG}/{LONG}", True, "0o755"),
        ("opt/xgbpatch/bin/serve", False, "0o755"),
        ("opt/xgbpatch/lib/xgbpatch_overlays/__init__.py", False, "0o644"),
        (f"{packages}/{LONG}/{LONG}/f\u00fcnf.py", False, "0o644"),
    ]
    attributes = {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members}
    assert attributes == {(0, 0, "", "", 0)}


def test_the_layer_holds_what_the_build_context_holds():
    """The engine's builder copies the context's folder: both builders have one list of files."""
    with (
        dockerfile.packed_context("FROM scratch\n", Patch(FILES, {})) as stream,
        tarfile.open(fileobj=stream) as archive,
    ):
        copied = [member for member in archive.getmembers() if member.name != "Dockerfile"]
    members = members_of(blob_of(Patch(FILES, {})))
    assert [(f"opt/{member.name}", member.mode, member.size) for member in copied] == [
        (member.name, member.mode, member.size) for member in members
    ]


def test_times_modes_and_epoch_of_this_machine_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "script.py"
    path.write_text("print(1)\n")
    patch = Patch((PatchFile("/opt/xgbpatch/lib/script.py", path),), {})
    before = blob_of(patch)
    os.utime(path, (1, 1))
    path.chmod(0o600)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert blob_of(patch) == before
    path.write_text("print(2)\n")
    assert blob_of(patch) != before


def test_a_layer_can_be_read_again():
    with layer.packed_layer(Patch(FILES, {})) as blob:
        with blob.opened() as stream:
            first = stream.read()
        with blob.opened() as stream:
            assert stream.read() == first


def test_a_large_file_never_is_in_memory(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(300 << 20)
    script = f"""
import resource
from pathlib import Path
from xgbpatch.build import layer
from xgbpatch.patch.compose import Patch, PatchFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with layer.packed_layer(Patch((PatchFile("/opt/xgbpatch/lib/large", Path({str(path)!r})),), {{}})):
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 40_000, "KiB"


def test_a_full_disk_is_a_build_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer, "_MEMORY_BYTES", 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(BuildError, match="could not be written"), layer.packed_layer(Patch(FILES, {})):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(pieces=st.lists(st.binary(max_size=200_000), max_size=4), stored=st.booleans())
def test_gzip_does_not_show_how_its_input_was_cut(pieces: list[bytes], stored: bool):
    def packed(parts: list[bytes]) -> bytes:
        target = io.BytesIO()
        writer = GzipWriter(target, stored)
        for part in parts:
            writer.write(part)
        writer.finish()
        return target.getvalue()

    whole = b"".join(pieces)
    assert gzip.decompress(packed(pieces)) == whole
    assert packed(pieces) == packed([whole])
