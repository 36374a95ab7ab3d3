"""The plain install, from a wheel, into an empty environment: small, complete, and honest about extras."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_MEGABYTES = 80


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment that holds xgbpatch's wheel and what it depends on, and not even pip."""
    folder = tmp_path_factory.mktemp("install")
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    subprocess.run([*wheel, str(ROOT)], check=True)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    (wheel,) = wheels.iterdir()
    subprocess.run([*pip, "--python", str(python), "install", "-q", str(wheel)], check=True)
    return folder / "venv"


def run(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = {"PATH": "/usr/bin:/bin", "HOME": str(environment)}
    kept = {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    command = [str(environment / "bin/xgbpatch"), *arguments]
    return subprocess.run(command, env=home | kept, cwd=environment, capture_output=True, text=True, check=False)


def test_it_stays_small(environment):
    total = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    assert total < LIMIT_MEGABYTES * 1e6, f"{total / 1e6:.0f} MB"


def test_all_that_it_ships_is_there(environment):
    result = run(environment, "versions", "--region", "us-west-2")
    assert result.returncode == 0, result.stderr
    assert "3.2-0" in result.stdout
    (package,) = environment.glob("lib/python*/site-packages/xgbpatch")
    shipped = (
        "overlays/serve.py",
        "templates/Dockerfile.j2",
        "data/abalone/validation.libsvm",
        "standin/versions.toml",
        "overlays/native/libxgbpatch-x86_64.so",
        "overlays/native/libxgbpatch-aarch64.so",
    )
    assert [name for name in shipped if not (package / name).exists()] == []


def test_a_command_that_needs_an_extra_says_which(environment):
    result = run(environment, "sandbox", "up", "--no-bases", "--state", str(environment / "state"))
    assert result.returncode == 12, result.stderr
    assert "pip install 'xgbpatch[sandbox]'" in result.stderr


def test_the_library_is_importable_without_any_extra(environment):
    code = "import xgbpatch; print([getattr(xgbpatch, name).__name__ for name in xgbpatch.__all__])"
    command = [str(environment / "bin/python"), "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "resolve" in result.stdout
