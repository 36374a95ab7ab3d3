"""What a killed test run left of a region is gone before another run uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sandbox.regions import clear
from xgbpatch.sandbox import hosts
from xgbpatch.sandbox.state import RegistryHost

REGION = "ap-east-1"
NAME = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
OTHER = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """A hosts file, and a folder of certificates with one of each name."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    for name in (NAME, OTHER):
        (tmp_path / "certs.d" / name).mkdir(parents=True)
        (tmp_path / "certs.d" / name / "ca.crt").touch()
    return tmp_path / "hosts", tmp_path / "certs.d"


def test_names_and_certificates_of_a_killed_run_go(machine, tmp_path):
    mark = tmp_path / "pytest-of-somebody/pytest-1/sandbox"
    names = (NAME, NAME.replace("123456789012", "246618743249"))
    hosts.write(machine[0], mark, [RegistryHost(name, "127.100.1.2", "123456789012", REGION) for name in names])
    assert clear(REGION, *machine)
    assert machine[0].read_text() == "127.0.0.1 localhost\n"
    assert [folder.name for folder in machine[1].iterdir()] == [OTHER]


def test_a_sandbox_of_the_users_keeps_its_region(machine):
    hosts.write(machine[0], Path("/home/somebody/sandbox"), [RegistryHost(NAME, "127.0.0.2", "123456789012", REGION)])
    before = machine[0].read_text()
    assert not clear(REGION, *machine)
    assert machine[0].read_text() == before
    assert (machine[1] / NAME).exists()
