"""Who we are for which registry: ECR through AWS, any other as `docker login` has stored it, else nobody."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xgbpatch.aws import AwsRegion
from xgbpatch.errors import RegistryError
from xgbpatch.reference import Credentials, ImageReference

_DOCKER_HUB = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30


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
        door = self.door(registry.region)
        own = door.registry_host(registry.account)  # a host that only looks like ECR must never be sent a token
        return door if reference.host in (own, own.replace(".dkr.ecr.", ".dkr.ecr-fips.", 1)) else None

    def door(self, region: str) -> AwsRegion:
        """The region's door, kept so that its tokens are."""
        return self._doors.setdefault(region, AwsRegion(region))


def _stored(host: str) -> Credentials | None:
    config = _docker_config()
    key = _DOCKER_HUB if host in ("docker.io", "index.docker.io") else host
    helper = config.get("credHelpers", {}).get(key) or config.get("credsStore")
    if helper and (credentials := _from_helper(str(helper), key)):
        return credentials
    auths = config.get("auths", {})
    entry = auths.get(key) or auths.get(f"https://{key}") or {}
    username, _, password = base64.b64decode(entry.get("auth", "")).decode("utf-8", "replace").partition(":")
    return Credentials(username, password) if username else None


def _docker_config() -> Mapping[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    path = Path(folder) / "config.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RegistryError(
            f'Docker\'s configuration cannot be read: "{path}": {error}', "Correct or remove it."
        ) from error
    return document if isinstance(document, dict) else {}


def _from_helper(helper: str, key: str) -> Credentials | None:
    """Ask `docker-credential-<helper>` (github.com/docker/docker-credential-helpers); one that fails has nothing."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        answer = subprocess.run(command, input=key, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=True)
        document = json.loads(answer.stdout)
        return Credentials(document["Username"], document["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None
