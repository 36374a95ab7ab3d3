"""What goes with an image that has been put into a registry: the list of what was added, and a signature.

cosign signs, where it is installed: an image by digest, with a key or with the identity of the CI job. No secret is
ever an argument: cosign reads passwords and tokens from its own variables (`COSIGN_PASSWORD`, `SIGSTORE_ID_TOKEN`), and
the registry's login from a file that is gone afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch.errors import SigningError
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.registry import Services, referrers
from xgbpatch.registry.referrers import Artifact

if TYPE_CHECKING:
    from xgbpatch.build.definition import ImageDefinition

_INSTALL = "Install it (https://docs.sigstore.dev/cosign/system_config/installation/), or leave out --sign."
_SECONDS = 300  # cosign itself gives up after 180


@dataclass(frozen=True)
class Signer:
    """With what to sign: `key` names a key (a file, `awskms:///alias/…`, `env://NAME`) and is never the key itself.

    Without one, cosign asks Sigstore for a certificate of the job's OIDC identity, which a public log then holds.
    """

    program: str
    key: str = ""


@dataclass(frozen=True)
class Attachments:
    """What is asked for: `sbom` attaches the CycloneDX document, a `signer` signs."""

    sbom: bool = True
    signer: Signer | None = None


def attach_all(services: Services, image: ImageReference, definition: ImageDefinition, options: Attachments) -> None:
    """Attach what `options` ask for to the image that `image` names by digest; what it has already is left as it is.

    Raises `RegistryError`, `AwsError` and `SigningError`; the image itself stands.
    """
    if options.sbom:
        from xgbpatch.publish import sbom  # its library takes a tenth of a second to import

        artifact = Artifact(sbom.ARTIFACT_TYPE, sbom.ARTIFACT_TYPE, sbom.document(definition))
        referrers.attach(services.registry, services.blobs_of(image), image, artifact)
        services.progress.line(f'SBOM attached to "{image.pinned}"')
    if options.signer:
        sign(options.signer, image, services.registry.credentials_for)
        services.progress.line(f'signed "{image.pinned}"')


def signer(key: str = "") -> Signer:
    """The cosign on PATH; ask before anything is pushed. Raises `SigningError` where there is none."""
    if "-----BEGIN" in key:
        raise SigningError(
            "the signing key was given as text, which every process of this machine could read",
            "Put it into a variable and name that: env://NAME",
        )
    program = shutil.which("cosign")
    if program is None:
        raise SigningError('"cosign" is not on PATH', _INSTALL)
    return Signer(program, key)


def sign(signer: Signer, image: ImageReference, keychain: Callable[[ImageReference], Credentials | None]) -> None:
    """Sign `image`, which must carry its digest, in its registry; raises `SigningError` with cosign's own words."""
    command = [signer.program, "sign", "--yes", *(["--key", signer.key] if signer.key else []), str(image.pinned)]
    with _login(image, keychain(image)) as environment:
        try:
            completed = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SigningError(f'cosign did not sign "{image.pinned}" in {_SECONDS} s', _next(signer)) from error
        except OSError as error:
            raise SigningError(f'"{signer.program}" cannot be run: {error.strerror}', _INSTALL) from error
    if completed.returncode != 0:
        output = (completed.stderr.strip() or completed.stdout.strip() or "it said nothing")[-2000:]
        raise SigningError(
            f'cosign did not sign "{image.pinned}", exit {completed.returncode}:\n{output}', _next(signer)
        )


@contextmanager
def _login(image: ImageReference, credentials: Credentials | None) -> Iterator[dict[str, str]]:
    """The environment in which cosign finds the login that xgbpatch itself uses, and no other."""
    environment = dict(os.environ)
    if credentials is None:
        yield environment
        return
    pair = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    login = {"auth": pair}
    if credentials.identity_token:
        login["identitytoken"] = credentials.identity_token
    with tempfile.TemporaryDirectory(prefix="xgbpatch-login-") as folder:  # 0700
        Path(folder, "config.json").write_text(json.dumps({"auths": {image.host: login}}), encoding="utf-8")
        yield {**environment, "DOCKER_CONFIG": folder}


def _next(signer: Signer) -> str:
    if signer.key:
        return "Is COSIGN_PASSWORD set, and may this role use the key? The image itself is pushed; sign it again."
    return "Without a key the job needs an OIDC identity (GitHub: id-token: write). The image itself is pushed."
