"""The native library: made from these sources, the same bytes anywhere, and never left out of an image in silence."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from xgbpatch.errors import ConfigurationError
from xgbpatch.native import build
from xgbpatch.overlays import native
from xgbpatch.patch import compose

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(build.__file__).resolve().parents[2]


@pytest.mark.group("native")
def test_the_same_bytes_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SOURCES", shutil.copytree(build.SOURCES, tmp_path / "sources"))
    monkeypatch.setattr(build, "MACHINES", ("aarch64",))  # the other one takes three times as long
    # zig's own runtime and libc, which it compiles once for each target, stay where they are; what it makes of our
    # sources goes to the local cache, which is empty here
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", os.environ.get("ZIG_GLOBAL_CACHE_DIR") or f"{user_cache}/zig")
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(tmp_path / "zig"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where none is kept
    build.build(tmp_path)
    assert build.library("aarch64", tmp_path).read_bytes() == build.library("aarch64").read_bytes()


@pytest.mark.parametrize("damage", [False, True], ids=["whole", "cut off"])
def test_another_checkout_takes_what_the_cache_keeps_where_it_is_whole(tmp_path, monkeypatch, damage):
    compiled = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_compile", lambda machine, target: compiled.append(target.write_bytes(b"library" * 9)))
    for checkout in ("first", "second"):
        (tmp_path / checkout).mkdir()
        build.build(tmp_path / checkout)
        for path in (tmp_path / "cache/xgbpatch/native").iterdir() if damage else ():
            path.write_bytes(b"library")
    assert len(compiled) == (4 if damage else 2)
    assert {path.read_bytes() for path in tmp_path.glob("*/libxgbpatch-*.so")} == {b"library" * 9}


def test_the_compiler_is_unpacked_only_where_it_has_something_to_do(tmp_path, monkeypatch):
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["NativeLibrary"](str(ROOT), {}, None, None, "", "wheel")
    assert hook.dependencies() == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copytree(ROOT / "xgbpatch/native", tmp_path / "xgbpatch/native")
    (tmp_path / "xgbpatch/overlays/native").mkdir(parents=True)
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["NativeLibrary"](str(tmp_path), {}, None, None, "", "wheel")
    assert hook.dependencies() == [f"ziglang=={build.ZIG}"]


def test_pyproject_pins_the_compiler_that_the_digest_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["native"] == [f"ziglang=={build.ZIG}"]


def test_the_library_of_this_machine_loads_with_the_interface_that_the_overlays_know():
    assert isinstance(native.load(), ctypes.CDLL)


@pytest.mark.parametrize("machine", build.MACHINES)
def test_the_library_needs_an_old_libc_and_nothing_else(machine):
    content = build.library(machine).read_bytes()
    versions = {tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_([0-9.]+)", content)}
    assert max(versions) <= (2, 17)
    assert set(re.findall(rb"\0(lib[\w.+-]+\.so[.\d]*)\0", content)) <= {b"libc.so.6", b"libm.so.6"}


def test_both_libraries_are_in_every_image():
    names = [file.target.rsplit("/", 1)[1] for file in compose.overlay_files() if not file.target.endswith(".py")]
    assert names == [f"libxgbpatch-{machine}.so" for machine in build.MACHINES]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"of older sources")])
def test_no_image_is_defined_without_a_library_or_with_an_old_one(tmp_path, monkeypatch, damage):
    shutil.copytree(Path(compose.__file__).parent.parent / "overlays", tmp_path / "overlays")
    monkeypatch.setattr(compose, "files", lambda package: tmp_path)
    damage(tmp_path / "overlays/native/libxgbpatch-aarch64.so")
    with pytest.raises(ConfigurationError, match=r"libxgbpatch-aarch64.so") as raised:
        compose.overlay_files()
    assert "scripts/setup" in raised.value.next_step


@pytest.mark.parametrize(
    ("machine", "content", "reason"),
    [
        ("riscv64", None, "no native library"),
        (platform.machine(), b"not an ELF file", "does not load"),
    ],
)
def test_a_machine_without_the_library_is_told_why(tmp_path, monkeypatch, machine, content, reason):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if content:
        (tmp_path / f"libxgbpatch-{machine}.so").write_bytes(content)
    monkeypatch.setattr(native, "FOLDER", str(tmp_path))
    with pytest.raises(native.Unsuitable, match=reason):
        native.load()
