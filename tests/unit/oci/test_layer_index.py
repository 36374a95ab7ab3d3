"""Reading a layer's blob: which entries and contents are kept, and how hostile or damaged bytes are refused."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.layers import Link, described, index_of, indexed, pieces_of, tar_of
from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.oci import layer_index, layer_tar
from xgbpatch.oci.layer_index import Entry, EntryKind, index_layer
from xgbpatch.oci.manifest import Descriptor

SITE = "opt/venv/lib/python3.12/site-packages"
FOLDED = b"Name: a\nDescription: b\n        \n        c\nVersion: 1\n"
DPKG = b"Package: libc6-dev\nVersion: 9.9\n\nPackage: libc6\nStatus: x\nVersion: 1:2.27-3ubuntu1\n"
UBUNTU = b"GNU C Library (Ubuntu GLIBC 2.31-0ubuntu9) stable release version 2.31.\n"
SMALL = gzip.compress(tar_of([("etc/hostname", b"here\n")]))


def test_every_path_is_known_with_kind_mode_size_and_target():
    index = indexed(
        ("./opt/", None), ("opt/bin/run", b"12345"), ("opt/link", Link("bin/run")), ("/lib", Link("usr/lib"))
    )
    assert index.entries == {
        "opt": Entry(EntryKind.FOLDER, 0o755, 0),
        "opt/bin": Entry(EntryKind.FOLDER, 0o755, 0),
        "opt/bin/run": Entry(EntryKind.FILE, 0o755, 5),
        "opt/link": Entry(EntryKind.SYMLINK, 0o644, 0, "bin/run"),
        "lib": Entry(EntryKind.SYMLINK, 0o644, 0, "usr/lib"),
    }
    assert (index.whiteouts, index.opaque, index.contents) == (frozenset(), frozenset(), {})


def test_whiteouts_and_opaque_folders_are_kept_as_such():
    index = indexed(
        ("a/.wh.b", b""),
        ("c/.wh..wh..opq", b""),
        (".wh..wh.plnk", None),
        ("a/.wh..wh.aufs", b""),
        (".wh..wh.plnk/1.2", b""),
    )
    assert (index.whiteouts, index.opaque) == ({"a/b"}, {"c"})
    assert set(index.entries) == {"a", "c"}


@pytest.mark.parametrize(
    ("path", "content", "kept_content"),
    [
        (f"{SITE}/a-1.dist-info/METADATA", FOLDED + b"\nVersion: of the text", FOLDED),
        (f"{SITE}/a-1.dist-info/RECORD", b"a,b,c\n", None),
        (f"{SITE}/a.egg-info", b"Name: a\n\n", b"Name: a\n"),
        (f"{SITE}/a.egg-info/PKG-INFO", b"Name: a\r\n\r\nbody", b"Name: a\r\n"),
        (f"{SITE}/a.egg-info/requires.txt", b"b\n\n[x]\nc\n", b"b\n\n[x]\nc\n"),
        (f"{SITE}/sagemaker_xgboost_container/a/b.py", b"\xff\n\n1", b"\xff\n\n1"),
        (f"{SITE}/xgboost/core.py", b"1", None),
        ("opt/venv/bin/serve", b"#!/opt/venv/bin/python\nimport re\n", b"#!/opt/venv/bin/python\n"),
        ("opt/venv/pyvenv.cfg", b"home = /usr/bin\n", b"home = /usr/bin\n"),
        ("var/lib/dpkg/status", DPKG, b"2.27"),
        ("var/lib/dpkg/status", b"Package: bash\nVersion: 5.2\n", b""),
        ("lib/x86_64-linux-gnu/libc-2.31.so", b"\0" + UBUNTU, b"2.31"),
        ("usr/lib64/libc.so.6", b"\0" * 262_100 + b"GNU C Library (GNU libc) stable release version 2.34.\n", b"2.34"),
        ("usr/bin/python3.12", b"\x0012.3.12\0 3.12.1 x\0/versions/3.12.1\x00\0003.45.0\0", b"3.12.1\n3.45.0"),
        ("usr/lib/libpython3.7m.so.1.0", b"\0003.7.16+\0003.7.16+\0", b"3.7.16+"),
        ("usr/lib/libpython3.13.so.1.0", b"\0" * 262_141 + b"3.13.0rc2\0", b"3.13.0rc2"),
    ],
)
def test_only_what_tells_something_is_kept(path: str, content: bytes, kept_content: bytes | None):
    assert indexed((path, content)).contents == ({} if kept_content is None else {path: kept_content})


def test_a_hardlink_is_the_file_that_it_names():
    first, second = "opt/pkgs/a/a.egg-info", "opt/a.egg-info"
    index = indexed((first, b"Name: a\n"), (second, Link(first, hard=True)))
    assert index.entries[second] == index.entries[first] == Entry(EntryKind.FILE, 0o644, 8)
    assert index.contents[second] == b"Name: a\n"


def test_of_a_path_twice_in_one_layer_the_last_counts():
    path = f"{SITE}/sagemaker_xgboost_container/a.py"
    assert indexed((path, b"1"), (path, b"2")).contents == {path: b"2"}
    assert indexed((path, b"1"), (path, Link("b.py"))).contents == {}


def test_names_that_climb_are_only_names_below_the_root():
    index = indexed(("../../etc/passwd", b"x"), ("a/../../b", b"x"), ("/", None))
    assert set(index.entries) == {"etc", "etc/passwd", "b"}


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_plain_and_many_membered_gzip_tars_are_read(piece: int):
    plain = tar_of([("a", b"x" * 3000), ("b", b"y")])
    members = gzip.compress(plain[:1500]) + gzip.compress(b"") + gzip.compress(plain[1500:])
    for blob in (plain, gzip.compress(plain), members, members + b"\0" * 20):
        assert set(index_of(blob, piece).entries) == {"a", "b"}


def test_long_and_odd_names_survive():
    names = [f"{'d' * 120}/{'f' * 130}", "f\u00fcnf", "new\nline"]
    assert set(names) <= set(indexed(*((name, b"") for name in names)).entries)


def test_an_empty_layer_is_empty():
    assert indexed().entries == {}


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"\x28\xb5\x2f\xfd" + b"x" * 100, "Zstandard"),
        (b"<html>" * 200, "cannot be read"),
        (gzip.compress(b"no tar" * 200), "cannot be read"),
        (b"\x1f\x8b" + b"x" * 100, "no gzip"),
        (gzip.compress(tar_of([("a", b"x" * 5000)])[:3000]), "unexpected end"),
    ],
    ids=["zstd", "plain-garbage", "gzip-garbage", "not-gzip", "cut-tar"],
)
def test_what_is_no_gzip_tar_is_refused_with_a_way_out(blob: bytes, reason: str):
    with pytest.raises(BaseImageError, match=reason) as caught:
        index_of(blob)
    assert "--builder docker" in caught.value.next_step


@pytest.mark.parametrize(
    "content",
    [SMALL[:-1], SMALL[:40], b"", SMALL + b"x", SMALL[:30] + b"\0" + SMALL[31:], b"<html>"],
    ids=["one-short", "cut", "nothing", "one-more", "damaged", "other"],
)
def test_bytes_that_are_not_the_announced_ones_are_the_registrys_fault(content: bytes):
    with pytest.raises(RegistryError):
        index_layer(pieces_of(content), described(SMALL))


def test_a_wrong_digest_is_found_when_all_bytes_are_a_fine_tar():
    other = Descriptor("sha256:" + "0" * 64, described(SMALL).media_type, len(SMALL))
    with pytest.raises(RegistryError, match="wrong bytes"):
        index_layer(pieces_of(SMALL), other)


def test_a_kept_file_beyond_its_bound_is_refused():
    large = b"x" * (layer_index.LARGEST_FILE + 1)
    with pytest.raises(BaseImageError, match="4 MiB"):
        indexed((f"{SITE}/sagemaker_xgboost_container/a.py", large))
    with pytest.raises(BaseImageError, match="4 MiB"):
        indexed((f"{SITE}/a.dist-info/METADATA", b"X: " + large))


def test_more_paths_than_any_layer_has_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer_tar, "MOST_PATHS", 50)
    indexed(*((f"{number}", b"") for number in range(50)))
    with pytest.raises(BaseImageError, match="more paths"):
        indexed(*((f"{number}", b"") for number in range(52)))
    with pytest.raises(BaseImageError, match="more paths"):
        indexed(("a/" * 60, b""))


def test_folders_deeper_than_any_are_refused():
    indexed(("a/" * 100 + "a", b""))
    with pytest.raises(BaseImageError, match="deeper"):
        indexed(("a/" * 102, b""))


def test_more_names_than_any_layer_has_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer_index, "LARGEST_NAMES", 5000)
    with pytest.raises(BaseImageError, match="more paths"):
        indexed(*((f".wh.{'x' * 100}{number}", b"") for number in range(60)))


def test_more_content_than_any_layer_has_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer_index, "LARGEST_CONTENTS", 1000)
    with pytest.raises(BaseImageError, match="too large"):
        indexed(*((f"{number}/serve", b"x" * 600) for number in range(2)))
    with pytest.raises(BaseImageError, match="too large"):
        indexed(("serve", b"x" * 600), ("train", Link("serve", hard=True)))


def test_a_layer_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer_tar, "LARGEST_PLAIN", 1 << 20)
    with pytest.raises(BaseImageError, match="more than any"):
        indexed(("bomb", b"\0" * (2 << 20)))


def test_a_sparse_file_is_refused():
    header = tarfile.TarInfo("sparse")
    header.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(BaseImageError, match="cannot be read"):
        index_of(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240)


def announcing(size: int, kind: bytes = tarfile.REGTYPE, name: str = "a") -> bytes:
    """A header alone, of a member of that size; nothing follows."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    return header.tobuf(tarfile.GNU_FORMAT)


def extended(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header with these bytes for its records."""
    padding = bytes(-len(records) % 512)
    return announcing(len(records), kind) + records + padding


def record(keyword: str, value: str) -> bytes:
    text = f" {keyword}={value}\n".encode()
    length = len(text) + 1
    while len(f"{length}") + len(text) != length:
        length += 1
    return f"{length}".encode() + text


HUGE = 1 << 60
TRUE_TAR = tar_of([("b", b"y")])


@pytest.mark.parametrize("packed", [gzip.compress, bytes], ids=["gzip", "plain"])
@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        pytest.param(announcing(HUGE), "announces", id="more than any layer holds"),
        pytest.param(announcing(30 << 30), "unexpected end", id="more than comes"),
        pytest.param(announcing(30 << 30, name="usr/bin/python3.12"), "unexpected end", id="of a file that is read"),
        pytest.param(announcing(-1), "announces", id="less than nothing"),
        pytest.param(announcing(-HUGE, tarfile.XHDTYPE), "announces", id="an extended header of less than nothing"),
        pytest.param(announcing(HUGE, tarfile.GNUTYPE_LONGNAME), "announces", id="a long name"),
        pytest.param(announcing(HUGE, b"V"), "announces", id="of a kind that nobody knows"),
        pytest.param(extended(record("size", str(HUGE))) + TRUE_TAR, "announces", id="in an extended header"),
        pytest.param(
            extended(record("size", "9" * 5000)) + TRUE_TAR, "announces", id="in more digits than Python reads"
        ),
        pytest.param(
            extended(record("size", "-7")) + TRUE_TAR, "announces", id="in an extended header, less than nothing"
        ),
        pytest.param(
            extended(record("size", str(30 << 30))) + TRUE_TAR, "unexpected end", id="in one, more than comes"
        ),
    ],
)
def test_what_a_member_announces_is_held_to_what_a_layer_holds(blob: bytes, reason: str, packed):
    with pytest.raises(BaseImageError, match=reason):
        index_of(packed(blob))


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(b"2 " * 100_000 + b"=", id="records over one another"),
        pytest.param(b"9" * 200_000 + b" a=b\n", id="a length of digits without end"),
        pytest.param(b"7 a=b\n", id="too long"),
        pytest.param(b"5 a=b\n", id="too short"),
        pytest.param(b"0 a=b\n", id="of no length"),
        pytest.param(b"6 a:bc\n", id="no value"),
        pytest.param(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0"), id="a sparse file"),
        pytest.param(record("GNU.sparse.map", "0,x"), id="a sparse file with a map that is none"),
    ],
)
def test_a_damaged_extended_header_is_refused(records: bytes):
    with pytest.raises(BaseImageError, match="cannot be read"):
        index_of(extended(records) + TRUE_TAR)


def test_an_extended_header_says_where_the_next_member_is_and_a_global_one_nothing():
    blob = extended(record("path", "x"), tarfile.XGLTYPE) + extended(
        record("path", "f\u00fcnf") + record("mtime", "1.5")
    )
    assert set(index_of(blob + tar_of([("a", b"1"), ("b", b"2")])).entries) == {"f\u00fcnf", "b"}


def test_an_extended_header_without_a_member_is_refused():
    with pytest.raises(BaseImageError, match="no member follows"):
        index_of(extended(record("path", "a")))


def test_members_without_end_that_take_no_place_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layer_tar, "MOST_PATHS", 50)
    for name in ("./", ".wh.a", "same"):
        with pytest.raises(BaseImageError, match="more paths"):
            indexed(*((name, b"") for _ in range(52)))


def test_a_path_longer_than_linux_takes_is_refused():
    indexed(("a", Link("b" * 4096)))
    with pytest.raises(BaseImageError, match="longer than Linux"):
        indexed(("a", Link("b" * 4097)))


def test_what_is_kept_of_a_hardlink_is_what_its_own_name_stands_for():
    """The C library's version is never the text of another file."""
    index = indexed(("opt/a.egg-info", b"Name: a\n"), ("usr/lib/libc.so.6", Link("opt/a.egg-info", hard=True)))
    assert set(index.contents) == {"opt/a.egg-info"}


def _endless_name(kind: bytes, size: int) -> bytes:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    return header.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_without_end_is_refused_before_it_fills_the_memory(kind: bytes):
    blob = gzip.compress(_endless_name(kind, 4 << 30) + b"\0" * (8 << 20))
    with pytest.raises(BaseImageError, match="cannot be read"):
        index_of(blob, 1 << 16)


def test_headers_without_end_are_refused():
    with pytest.raises(BaseImageError, match="cannot be read"):
        index_of(gzip.compress(_endless_name(tarfile.XGLTYPE, 0) * 5000), 1 << 16)


@pytest.mark.parametrize("damaged", [lambda tar: tar[:700], lambda tar: b"x".join((tar[:600], tar[601:]))])
def test_a_damaged_header_is_no_end(damaged: Callable[[bytes], bytes]):
    tar = tar_of([("a", b""), ("b", b""), ("c", b"")])
    with pytest.raises(BaseImageError, match="header is damaged"):
        index_of(damaged(tar))


def test_memory_stays_small_whatever_a_layer_unpacks_to():
    """Zeros by the megabyte, in one file that tells something and in one that does not."""
    script = """
import hashlib, resource, sys, tarfile, zlib
from xgbpatch.oci.layer_index import index_layer
from xgbpatch.oci.manifest import Descriptor

deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
blob = bytearray()
for name in ("usr/bin/python3.12", "bomb"):
    header = tarfile.TarInfo(name)
    header.size = 64 << 20
    blob += deflate.compress(header.tobuf())
    for _ in range(64):
        blob += deflate.compress(bytes(1 << 20))
blob = bytes(blob + deflate.compress(bytes(1024)) + deflate.flush())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pieces = (blob[start : start + 65536] for start in range(0, len(blob), 65536))
found = index_layer(pieces, Descriptor("sha256:" + hashlib.sha256(blob).hexdigest(), "", len(blob)))
assert len(found.entries) == 4
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 30_000, "KiB"


def test_a_torn_gzip_trailer_is_refused():
    """The check sum of the content is wrong while the registry's digest is right: its builder wrote it so."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
    blob = deflate.compress(tar_of([("a", b"x")])) + deflate.flush()
    with pytest.raises(BaseImageError, match="no gzip"):
        index_of(blob[:-8] + bytes(8))


VALID = tar_of([("a/serve", b"x" * 600), ("b", Link("a/serve", hard=True)), ("c" * 120, Link("d")), ("e", b"x")])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6))
def test_a_tar_of_any_bytes_is_read_or_refused(changes: list[tuple[int, bytes]]):
    """Check sums are made good again, so that the damage reaches what lies behind them."""
    damaged = bytearray(VALID)
    for start, content in changes:
        damaged[start : start + len(content)] = content
    for start in range(0, len(damaged) - 512, 512):
        block = bytes(damaged[start : start + 148]) + b" " * 8 + bytes(damaged[start + 156 : start + 512])
        if block[257:262] == b"ustar":
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with suppress(BaseImageError):
        index_of(bytes(damaged), 1 << 16)


def test_reading_stops_at_the_announced_size():
    class Endless:
        sent = 0

        def __iter__(self):
            return self

        def __next__(self) -> bytes:
            Endless.sent += 1 << 16
            return bytes(1 << 16)

    with pytest.raises(RegistryError, match="more than"):
        index_layer(iter(Endless()), Descriptor(described(SMALL).digest, "", 100_000))
    assert Endless.sent <= 200_000


def test_a_layer_of_more_bytes_than_any_has_is_refused_before_the_first():
    def nothing_is_asked_for():
        raise AssertionError
        yield b""

    with pytest.raises(BaseImageError, match="more than any") as caught:
        index_layer(nothing_is_asked_for(), Descriptor(described(SMALL).digest, "", HUGE))
    assert "--builder docker" in caught.value.next_step


def test_devices_and_pipes_are_seen_and_nothing_more():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("dev/null", tarfile.CHRTYPE), ("pipe", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            archive.addfile(member)
    index = index_of(buffer.getvalue())
    assert {index.entries[name].kind for name in ("dev/null", "pipe")} == {EntryKind.OTHER}
