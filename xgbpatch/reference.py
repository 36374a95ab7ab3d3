"""Image references, parsed once at the edge and never a `str` again, and the credentials for their registries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from xgbpatch.errors import ConfigurationError

_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?::\d{1,5})?"
)
# also the dual-stack name, which answers over IPv6: <account>.dkr-ecr.<region>.on.aws
_ECR = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+")


def is_tag(text: str) -> bool:
    """Whether a registry may call an image so."""
    return _TAG.fullmatch(text) is not None


@dataclass(frozen=True)
class EcrRegistry:
    """The account and region that an ECR host name carries."""

    account: str
    region: str


@dataclass(frozen=True)
class ImageReference:
    """`[host/]repository[:tag][@digest]`, as the OCI distribution specification writes it.

    `host` is empty for a name that only the local engine knows; `tag` and `digest` are empty where absent.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read a reference; raises `ConfigurationError` that names the part which is wrong."""
        rest, at, digest = text.partition("@")
        first, slash, path = rest.partition("/")
        has_host = slash and ("." in first or ":" in first or first == "localhost")
        host, rest = (first, path) if has_host else ("", rest)
        repository, colon, tag = rest.partition(":")
        for part, value, announced, pattern in (
            ("registry host", host, "", _HOST),
            ("repository", repository, "always", _PATH),
            ("tag", tag, colon, _TAG),
            ("digest", digest, at, _DIGEST),
        ):
            if (value or announced) and not pattern.fullmatch(value):
                raise ConfigurationError(
                    f'"{text}" is not an image reference: its {part} "{value}" is not valid',
                    "Write host/repository:tag or host/repository@sha256:… (repositories are lower case).",
                )
        return cls(host, repository, tag, digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Host and repository, without tag and digest."""
        return f"{self.host}/{self.repository}" if self.host else self.repository

    @property
    def pinned(self) -> ImageReference:
        """The same image by digest alone."""
        if not self.digest:
            raise ConfigurationError(f'"{self}" has no digest', "Resolve it first.")
        return replace(self, tag="")

    @property
    def ecr(self) -> EcrRegistry | None:
        """Account and region where the host is an ECR registry, else None."""
        match = _ECR.fullmatch(self.host)
        return EcrRegistry(match["account"], match["region"]) if match else None

    def require_host(self) -> None:
        """Raises `ConfigurationError` where only the local engine knows the name."""
        if not self.host:
            raise ConfigurationError(
                f'"{self}" names no registry', "Write host/repository:tag or host/repository@sha256:…"
            )

    def with_tag(self, tag: str) -> ImageReference:
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> ImageReference:
        return replace(self, digest=digest)


@dataclass(frozen=True)
class Credentials:
    """Name and password for one host, or the identity token that `docker login` got in their place. No secret shows in
    a repr, a log or a command line."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


CredentialsFor = Callable[[ImageReference], Credentials | None]  # None stays anonymous
