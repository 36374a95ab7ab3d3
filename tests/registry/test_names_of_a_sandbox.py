"""A registry's name that a sandbox has on this machine: in a shell that is not pointed at it, the error says so."""

from __future__ import annotations

import pytest

from support.registries import USER, free_port
from xgbpatch import hostnames
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry

STATE = "/root/sand box"
USE = "eval \"$(xgbpatch sandbox env --state '/root/sand box')\""
STOP = "xgbpatch sandbox down --state '/root/sand box'"


@pytest.fixture
def take(tmp_path, monkeypatch):
    """Makes a name that of a sandbox, as the hosts file has it."""

    def taken(host):
        block = (f'# >>> xgbpatch sandbox "{STATE}" >>>', f"127.0.0.2 {host}", f'# <<< xgbpatch sandbox "{STATE}" <<<')
        (tmp_path / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(block) + "\n")
        monkeypatch.setattr(hostnames, "HOSTS", tmp_path / "hosts")

    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    return taken


def refusal(reference):
    with pytest.raises(RegistryError) as caught:
        Registry(lambda reference: USER, lambda seconds: None).head(reference)
    return caught.value


def test_certificate_of_a_sandbox_is_explained_by_its_name_its_use_and_its_end(guarded, take):
    take(guarded.host)
    error = refusal(guarded.reference("a/b:1"))
    assert "is not trusted" in error.message
    for words in (f'"{guarded.host}" is the sandbox in "{STATE}"', USE, STOP):
        assert words in error.next_step


def test_sandbox_that_has_ended_and_left_its_names_is_named(take):
    """As after the machine was switched off."""
    silent = f"127.0.0.1:{free_port()}"
    take(silent)
    error = refusal(ImageReference.parse(f"{silent}/a/b:1"))
    assert "did not answer" in error.message
    assert STOP in error.next_step


def test_other_names_and_shells_that_are_pointed_at_it_get_the_usual_next_step(guarded, take, monkeypatch):
    take("elsewhere.example")
    assert "sandbox" not in refusal(guarded.reference("a/b:1")).next_step
    take(guarded.host)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{STATE}/bundle.crt")
    assert hostnames.next_step(guarded.host) == ""
