"""The registries' challenges and our answers to them (RFC 7617; distribution's token authentication)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import requests

from xgbpatch.errors import RegistryError
from xgbpatch.reference import Credentials
from xgbpatch.registry.http import Answer

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Authorization(requests.auth.AuthBase):
    """Exactly the header given: without an `auth` of its own requests would take one from ~/.netrc."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


@dataclass(frozen=True)
class Challenge:
    """What a registry wants: `scheme` in lower case, and its parameters (`realm`, `service`, `scope`)."""

    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """Of `WWW-Authenticate`; without a scheme where there is no header."""
        scheme, _, rest = header.partition(" ")
        return cls(scheme.lower(), dict(_PARAMETER.findall(rest)))

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def query(self) -> dict[str, str]:
        """What the issuer of tokens is to be told."""
        return {name: self.parameters[name] for name in ("service", "scope") if name in self.parameters}


def basic(credentials: Credentials | None) -> str:
    """The header's value, empty for nobody."""
    if credentials is None:
        return ""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def token(realm: str, answer: Answer) -> str:
    """The bearer token in an issuer's answer; raises `RegistryError` where it gave none."""
    try:
        document = json.loads(answer.body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if answer.status != 200 or not token:
        raise RegistryError(f'"{realm}" gave no token: HTTP {answer.status}', "Check the credentials: docker login.")
    return str(token)
