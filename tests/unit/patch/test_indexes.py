"""Packages come from the indexes that uv and pip are configured with, and no credential of theirs goes any further."""

import json
import re
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from support.package_index import index
from xgbpatch import provenance
from xgbpatch.build.definition import define
from xgbpatch.build.resolve import Base
from xgbpatch.config.fields import requirement
from xgbpatch.errors import ConfigurationError, PackageError
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts
from xgbpatch.patch import indexes, wheels
from xgbpatch.patch.packages import resolve
from xgbpatch.progress import Silent
from xgbpatch.publish import sbom
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec

PYTHON = PythonFacts("3.12.8", "/opt/venv/bin/python", "/opt/venv", "/s", "x86_64", "2.34")
HELD = {"xgboost": Distribution("xgboost", "3.2.0")}
FACTS = Facts("sha256:" + "0" * 64, PYTHON, HELD, {}, frozenset(), {}, {}, {})
SPEC = replace(Spec(version="3.2-0", region="us-west-2"), packages=("apackage",))
USER, PASSWORD = "someone", "s3cr%2Ft"  # as an address spells it


class Aloud(Silent):
    """Remembers what is said."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def uv_cache(tmp_path_factory):
    """uv finds out about the interpreter once; each index has a port, and so answers, of its own."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def private(tmp_path, monkeypatch, uv_cache):
    """The address of an index that asks for credentials, without any; nothing else is configured."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    with index(tmp_path / "index", "apackage", "1.0", f"{USER}:s3cr/t") as address:
        yield address


def with_user(address, user=f"{USER}:{PASSWORD}"):
    return address.replace("://", f"://{user}@")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def keyring(address, folder, patch):
    """A program of that name that knows one password, of one service."""
    write(
        folder / "bin/keyring", f'#!/bin/sh\n[ "$1 $3" = "get {USER}" ] && case $2 in {address}*) echo s3cr/t;; esac\n'
    )
    (folder / "bin/keyring").chmod(0o755)
    patch.setenv("PATH", str(folder / "bin"), prepend=":")


def pip_variable(address, folder, patch):
    patch.setenv("PIP_INDEX_URL", with_user(address))


def pip_extra(address, folder, patch):
    write(folder / "config/pip/pip.conf", f"[global]\nindex-url = {address}\n")
    patch.setenv("PIP_EXTRA_INDEX_URL", with_user(address))


def pip_file(address, folder, patch):
    write(folder / "config/pip/pip.conf", f"[global]\nindex-url = {with_user(address)}\n")


def pip_named_file(address, folder, patch):
    write(folder / "pip.conf", f"[install]\nindex-url = {with_user(address)}\n")
    patch.setenv("PIP_CONFIG_FILE", str(folder / "pip.conf"))


def pip_netrc(address, folder, patch):
    patch.setenv("PIP_INDEX_URL", address)
    write(folder / "netrc", f"machine 127.0.0.1 login {USER} password s3cr/t\n")


def pip_keyring(address, folder, patch):
    patch.setenv("PIP_INDEX_URL", with_user(address, USER))
    patch.setenv("PIP_KEYRING_PROVIDER", "subprocess")
    keyring(address, folder, patch)


def uv_variable(address, folder, patch):
    patch.setenv("UV_INDEX_URL", with_user(address))
    patch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")  # uv's own settings come first


def uv_named(address, folder, patch):
    patch.setenv("UV_DEFAULT_INDEX", f"our-own={address}")
    patch.setenv("UV_INDEX_OUR_OWN_USERNAME", USER)
    patch.setenv("UV_INDEX_OUR_OWN_PASSWORD", "s3cr/t")


def uv_file(address, folder, patch):
    write(folder / "config/uv/uv.toml", f'[[index]]\nurl = "{with_user(address)}"\ndefault = true\n')
    patch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")


def uv_named_file(address, folder, patch):
    write(folder / "uv-of-ours.toml", f'[pip]\nindex-url = "{with_user(address)}"\n')
    patch.setenv("UV_CONFIG_FILE", str(folder / "uv-of-ours.toml"))


def uv_keyring(address, folder, patch):
    patch.setenv("UV_DEFAULT_INDEX", with_user(address, USER))
    patch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    keyring(address, folder, patch)


WAYS = [
    pip_variable, pip_extra, pip_file, pip_named_file, pip_netrc, pip_keyring,
    uv_variable, uv_named, uv_file, uv_named_file, uv_keyring,
]  # fmt: skip


@pytest.mark.parametrize("configure", WAYS, ids=lambda way: way.__name__)
def test_a_package_comes_from_a_private_index_and_its_credentials_stay_there(
    private, tmp_path, monkeypatch, configure, capfd
):
    configure(private, tmp_path, monkeypatch)
    base = Base(ImageReference("example.com", "base", digest=FACTS.digest), "3.2-0", SPEC.architecture)
    progress = Aloud()
    definition = define(
        SPEC, base, FACTS, cache=tmp_path / "cache", progress=progress, created=datetime.now(timezone.utc)
    )
    (pin,) = definition.pins
    assert pin.url.startswith(private)
    cache_files = [path.read_text(errors="replace") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    texts = [
        *cache_files, *progress.lines, str(pin), repr(definition), json.dumps(provenance.write(definition.provenance)),
        *capfd.readouterr(), sbom.document(definition).decode(),
    ]  # fmt: skip
    assert not re.search(r"s3cr.{1,3}t|someone", "\n".join(texts))


@pytest.mark.parametrize("user", ["", "someone:wrong@", "TOKEN@"], ids=["none", "wrong ones", "a token as user"])
def test_an_index_that_refuses_is_named_without_credentials(private, monkeypatch, user):
    monkeypatch.setenv("PIP_INDEX_URL", private.replace("://", f"://{user}"))
    with pytest.raises(PackageError) as caught:
        resolve(("apackage",), FACTS)
    words = f"{caught.value.message}\n{caught.value.next_step}"
    assert private in words
    assert "401" in words
    assert not re.search(r"wrong|someone|TOKEN", words)


def test_a_download_that_is_refused_says_where_credentials_are_sought(private, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", with_user(private))
    pins = resolve(("apackage",), FACTS)
    monkeypatch.setenv("UV_DEFAULT_INDEX", private)
    with pytest.raises(PackageError, match=r'"127[.]0[.]0[.]1" answers 401') as caught:
        wheels.fetch(pins[0], tmp_path / "cache", Silent())
    assert "netrc" in caught.value.next_step


def test_credentials_go_to_no_other_host_and_to_the_nearest_index(monkeypatch):
    environment = {
        "UV_NO_CONFIG": "1",
        "UV_INDEX": "https://a:1@host/one/simple https://b:2@host/two/simple https://c:3@host:8443/two/simple",
    }
    known = {
        "https://host/two/packages/x.whl": ("b", "2"), "https://host/one/x.whl": ("a", "1"),
        "https://host:8443/two/x.whl": ("c", "3"), "http://host/two/x.whl": None, "https://host.example/x.whl": None,
        "https://files.pythonhosted.org/x.whl": None,
    }  # fmt: skip
    assert {url: indexes.credentials(url, environment) for url in known} == known


def test_settings_of_the_working_directory_and_of_others_folders_do_not_count(private, tmp_path, monkeypatch):
    """`/tmp`, where the resolver works, is everybody's."""
    (tmp_path / "uv.toml").write_text(f'index-url = "{with_user(private)}"\n')
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(PackageError, match=r"127\.0\.0\.1:1/"):
        resolve(("apackage",), FACTS)


def test_an_override_of_uv_moves_no_distribution_of_the_base(private, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", with_user(private))
    write(tmp_path / "config/uv/uv.toml", 'override-dependencies = ["apackage==1.0"]\n')
    facts = replace(FACTS, distributions={"apackage": Distribution("apackage", "0.9")})
    with pytest.raises(PackageError, match="unsatisfiable"):
        resolve(("apackage",), facts)


def test_a_broken_pip_conf_is_named_and_not_quoted(private, tmp_path, monkeypatch):
    write(tmp_path / "config/pip/pip.conf", "index-url = http://someone:secret@host/\n")
    with pytest.raises(ConfigurationError) as caught:
        resolve(("apackage",), FACTS)
    assert str(tmp_path / "config/pip/pip.conf") in caught.value.message
    assert "secret" not in caught.value.message


def test_a_requirement_with_credentials_in_its_address_is_refused_unquoted():
    with pytest.raises(ConfigurationError) as caught:
        requirement("apackage @ https://someone:secret@host/apackage-1.0-py3-none-any.whl")
    assert "secret" not in f"{caught.value.message}{caught.value.next_step}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("for url: https://a:b@host/x?X-Amz-Signature=abc", "for url: https://host/x"),
        ("with url: /x?token=abc (Caused by", "with url: /x (Caused by"),
        ("ssh://git@host, is it there?", "ssh://host, is it there?"),
    ],
)
def test_addresses_in_messages_hold_no_credentials(text, shown):
    assert indexes.redacted(text) == shown


def test_no_other_python_of_this_machine_is_started(private, tmp_path, monkeypatch):
    """uv would ask each on PATH what it is, and some are slow scripts that find another."""
    write(tmp_path / "bin/python3.12", f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    (tmp_path / "bin/python3.12").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("UV_DEFAULT_INDEX", with_user(private))
    assert [pin.version for pin in resolve(("apackage",), FACTS)] == ["1.0"]
    assert not (tmp_path / "started").exists()


def test_a_folder_of_wheels_is_enough(private, tmp_path, monkeypatch):
    """Which the lock names by a path from itself to there."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index/apackage"))
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    (pin,) = resolve(("apackage",), FACTS)
    assert wheels.fetch(pin, tmp_path / "cache", Silent()).is_file()
