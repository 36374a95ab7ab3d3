"""Which Python of the machine a stand-in runs on."""

from pathlib import Path

import pytest

from xgbpatch.errors import SandboxError
from xgbpatch.standin import parts


@pytest.fixture
def machine_with(monkeypatch):
    """`machine_with(minors)`: no other Python is here."""

    def only(minors):
        def ask(minor):
            return parts.Interpreter(f"{minor}.1", Path(minor), Path("lib"), None) if minor in minors else None

        monkeypatch.setattr(parts, "_candidates", lambda minor: iter([minor]))
        monkeypatch.setattr(parts, "_ask", ask)

    return only


@pytest.mark.parametrize(
    ("wanted", "present", "taken"),
    [
        ("3.8", ("3.7", "3.8", "3.9"), "3.8"),
        ("3.8", ("3.7", "3.9", "3.11"), "3.9"),
        ("3.8", ("3.7", "3.11"), "3.11"),  # not 3.7, for which newer releases of the pins have no wheels
        ("3.12", ("3.9", "3.11"), "3.11"),
    ],
)
def test_its_own_else_the_nearest_newer_one_else_the_nearest_older_one(machine_with, wanted, present, taken):
    machine_with(present)
    assert parts.find_interpreter(wanted).minor == taken


def test_none_is_an_error_with_the_next_step(machine_with):
    machine_with(())
    with pytest.raises(SandboxError) as error:
        parts.find_interpreter("3.8")
    assert "apt-get install python3" in (error.value.next_step or "")
