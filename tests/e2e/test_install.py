"""The install of README.md as it stands, in a checkout without an environment: small, complete, honest about extras."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.documentation import commands, run_by
from xgbpatch.util import loads

ROOT = Path(__file__).resolve().parents[2]
OWN_MEGABYTES = 10
ASKED_FOR = "packages"  # the extra that the README installs
NOT_COPIED = shutil.ignore_patterns(".venv", ".git", "build", "__pycache__", ".*_cache", "*.egg-info")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The virtual environment that the README's commands make."""
    checkout = tmp_path_factory.mktemp("install") / "xgbpatch"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=NOT_COPIED)
    (readme,), (index,) = (run_by(__file__, page) for page in ("README.md", "docs/index.md"))
    assert list(commands(readme.script)) == list(commands(index.script))
    mine = [name for name in os.environ if name.startswith("AWS_") or name == "COLUMNS"]  # the runner's, which sets 80
    variables = {name: value for name, value in os.environ.items() if name not in mine}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": programs, "AWS_EC2_METADATA_DISABLED": "1", "PIP_COMPILE": "0"}  # few of its modules are run
    result = subprocess.run(
        ["bash", "-euc", readme.script], cwd=checkout, env={**variables, **settings},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert str(checkout / ".venv/bin/uv") in result.stdout, result.stdout + result.stderr
    return checkout / ".venv"


def run(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = {"PATH": "/usr/bin:/bin", "HOME": str(environment)}
    docker_host = {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    command = [str(environment / "bin/xgbpatch"), *arguments]
    return subprocess.run(command, env=home | docker_host, cwd=environment, capture_output=True, text=True, check=False)


def test_it_stays_small(environment):
    """What is ours by its size; of what others release, which grows, only that no other extra came with it."""
    (package,) = environment.glob("lib/python*/site-packages/xgbpatch")
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    assert size < OWN_MEGABYTES * 1e6, f"{size / 1e6:.1f} MB"

    project = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = dict(project["optional-dependencies"])
    requirements = [*project["dependencies"], *optional.pop(ASKED_FOR)]
    plain = {canonicalize_name(Requirement(line).name) for line in requirements}
    optional = [line for lines in optional.values() for line in lines]
    extras = {canonicalize_name(Requirement(line).name) for line in optional}
    assert {"xgboost", "shap", "sagemaker-core", "scikit-learn-intelex"} <= extras - plain
    installed = {canonicalize_name(path.name.partition("-")[0]) for path in package.parent.glob("*.dist-info")}
    assert {"boto3", "docker", "jinja2"} <= installed
    assert installed & (extras - plain) - {"xgbpatch"} == set()


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
    code = """
import sys
sys.modules["uv"] = None  # all that the extra brings
import xgbpatch
print([getattr(xgbpatch, name).__name__ for name in xgbpatch.__all__])
"""
    command = [str(environment / "bin/python"), "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "resolve" in result.stdout
