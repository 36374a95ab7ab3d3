"""The program `docker-registry` is found on PATH or fetched with apt; else the error says how to install it."""

import subprocess
from pathlib import Path

import pytest

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Silent
from xgbpatch.sandbox import registries


def path_with(directory: Path, *names: str) -> str:
    """A PATH that holds these programs of the machine and no others."""
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to(Path("/usr/bin") / name)
    return str(directory)


def test_machine_s_own_program_comes_first(tmp_path, monkeypatch):
    (tmp_path / "docker-registry").write_text("#!/bin/sh\n")
    (tmp_path / "docker-registry").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert registries.find_registry(tmp_path / "none", Silent()) == str(tmp_path / "docker-registry")
    assert not (tmp_path / "none").exists()


def test_without_apt_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin", "env"))
    with pytest.raises(SandboxError, match="docker-registry") as raised:
        registries.find_registry(tmp_path / "program", Silent())
    assert "apt-get install docker-registry" in raised.value.next_step


def test_debian_s_package_is_unpacked_without_being_installed(tmp_path, monkeypatch):
    programs = ("apt-get", "dpkg-deb", "dpkg", "tar", "xz", "zstd", "gzip", "rm", "sh")
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin", *programs))
    program = registries.find_registry(tmp_path / "program", Silent())
    assert Path(program).is_relative_to(tmp_path / "program")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert "docker/distribution" in version.stdout
