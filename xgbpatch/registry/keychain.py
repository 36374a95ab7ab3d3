"""Credentials for a registry: of ECR from AWS, of any other as `docker login` stored them, or none."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xgbpatch.aws import AwsRegion
from xgbpatch.errors import RegistryError
from xgbpatch.oci import document
from xgbpatch.reference import Credentials, ImageReference

_DOCKER_HUB = "https://index.docker.io/v1/"
_IDENTITY = "<token>"  # the user's name by which a helper says that the secret is an identity token
_HELPER_SECONDS = 30
_LOGIN = {
    "auths": {"*": dict.fromkeys(("auth", "username", "password", "identitytoken"), str)},
    "credHelpers": {"*": str},
    "credsStore": str,
}


class Keychain:
    """Credentials by reference, asked for when they are needed; give an instance wherever a callable is wanted.

    Docker's stored logins are never used for ECR: a stale one would win over a fresh token (docker-py issue 3281).
    """

    def __init__(self) -> None:
        self._doors: dict[str, AwsRegion] = {}

    def __call__(self, reference: ImageReference) -> Credentials | None:
        """For the registry of `reference`, or None to stay anonymous; raises `AwsError` or `RegistryError`."""
        registry, door = reference.ecr, self.amazon(reference)
        if registry and door:
            return door.registry_credentials(registry.account)
        return _stored(reference.host) if reference.host else None

    def amazon(self, reference: ImageReference) -> AwsRegion | None:
        """The door to the ECR registry that `reference` lies in, None where its registry is none of Amazon's."""
        registry = reference.ecr
        if registry is None:
            return None
        door = self.door(registry.region)  # a host that only looks like ECR must never be sent a token
        return door if reference.host in door.registry_hosts(registry.account) else None

    def door(self, region: str) -> AwsRegion:
        """The region's door, kept so that its tokens are."""
        return self._doors.setdefault(region, AwsRegion(region))


# What `docker login` has left (docker/cli, config.json): a credential helper, of the registry or of all of them, keeps
# the login, or it stands in the file, under the name that was typed, which may be an address.


def _stored(host: str) -> Credentials | None:
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    login = _read(path)
    auths, helpers = login.get("auths") or {}, login.get("credHelpers") or {}
    names = [name for name in auths if _host(name) == _host(host)]
    helper = next((helpers[name] for name in helpers if _host(name) == _host(host)), None) or login.get("credsStore")
    for name in dict.fromkeys((*names, _DOCKER_HUB if _host(host) == _host(_DOCKER_HUB) else host)) if helper else ():
        if credentials := _from_helper(str(helper), name):
            return credentials
    entries = (_credentials(auths[name] or {}, f'"{name}" in "{path}"') for name in names)
    return next((credentials for credentials in entries if credentials), None)


def _host(name: str) -> str:
    """Of a key of the login file; Docker Hub has several."""
    host = re.sub("^https?://", "", name.lower()).partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return document.parse(path.read_bytes(), "it", _LOGIN)
    except FileNotFoundError:
        return {}
    except (OSError, RegistryError) as error:
        raise RegistryError(
            f'Docker\'s configuration cannot be read: "{path}": {error}', "Correct or remove it."
        ) from error


def _credentials(entry: Mapping[str, str], what: str) -> Credentials | None:
    """Of an entry of `auths`; Docker takes a token first, then `auth`."""
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            pair = base64.b64decode(entry["auth"], validate=True).decode()
        except ValueError as error:
            raise RegistryError(f"the login for {what} is damaged: its auth is no base64", "docker login") from error
        username, _, password = pair.partition(":")
    token = entry.get("identitytoken") or ""
    return Credentials(username, password.rstrip("\0"), token) if token or username else None


def _from_helper(helper: str, key: str) -> Credentials | None:
    """Ask `docker-credential-<helper>` (github.com/docker/docker-credential-helpers); one that fails has nothing."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        completed = subprocess.run(
            command, input=key.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=True
        )
        login = document.parse(completed.stdout, "its answer", {"Username": str, "Secret": str})
    except (OSError, subprocess.SubprocessError, ValueError, RegistryError):
        return None
    username, secret = login.get("Username") or "", login.get("Secret") or ""
    if username == _IDENTITY:
        return Credentials("", "", secret)
    return Credentials(username, secret) if username else None
