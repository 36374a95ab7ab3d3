"""Checks of the image itself, before anything of it serves."""

from __future__ import annotations

from xgbpatch import provenance
from xgbpatch.contract.model import NotApplicable, Violation, require
from xgbpatch.contract.session import Session
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage, Run
from xgbpatch.spec import Architecture

LABELS = (
    "com.amazonaws.sagemaker.capabilities.multi-models",
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port",
)
_MEGABYTE = 1e6


def commands(session: Session) -> str:
    """`train` and `serve` are on PATH: SageMaker starts the container with one of these words alone."""
    script = "for name in train serve; do command -v $name || echo missing: $name; done"
    result = session.engine.run(Run(session.image.id, ("-c", script), entrypoint=("/bin/sh",)), timeout=60)
    lines = result.stdout.split("\n")
    missing = [line.removeprefix("missing: ") for line in lines if line.startswith("missing: ")]
    require(not missing, f'not on PATH: "{", ".join(missing)}"')
    require(
        result.exit_code == 0, f"the image's shell ended with exit code {result.exit_code}: {result.stderr.strip()}"
    )
    return ", ".join(line for line in lines if line)


def labels(session: Session) -> str:
    """Both capability labels are `true`: without them SageMaker refuses multi-model endpoints and pipelines."""
    wrong = [f'"{name}" is "{session.image.labels.get(name, "")}"' for name in LABELS
             if session.image.labels.get(name) != "true"]  # fmt: skip
    require(not wrong, f'{", ".join(wrong)} and must be "true"')
    return "multi-models and accept-bind-to-port are true"


def platform(session: Session) -> str:
    """linux/amd64, or linux/arm64 for Graviton."""
    known = [architecture.value for architecture in Architecture]
    architecture = session.image.architecture
    require(architecture in known, f'the architecture "{architecture}" is none that SageMaker runs: {", ".join(known)}')
    return f"linux/{architecture}"


def size(session: Session) -> str:
    """The image's size, and what the overlay adds to its base; the base's layers must lie untouched below."""
    total = f"{session.image.size / _MEGABYTE:.0f} MB"
    base = labelled_base(session.engine, session.image)
    if base is None:
        return total
    below = session.image.layers[: len(base.layers)]
    require(below == base.layers, "the layers of the base named in the labels are not the image's lowest layers")
    return f"{total}, of which the overlay {(session.image.size - base.size) / _MEGABYTE:.1f} MB"


def labelled_base(engine: Engine, image: LocalImage) -> LocalImage | None:
    """The base that the labels name by digest, where the engine holds it."""
    origin = provenance.read(image.labels)
    if origin is None or not origin.base_digest:
        return None
    return engine.image(origin.base or origin.base_digest)


def base_of(session: Session) -> LocalImage:
    """The base to compare with: `--base`, or the labels'; raises `NotApplicable` or `Violation` where there is none."""
    name, origin = session.options.base, provenance.read(session.image.labels)
    if name:
        return session.engine.require_image(name)
    if origin is None:
        raise NotApplicable("the image names no base in its labels; give --base IMAGE")
    image = labelled_base(session.engine, session.image)
    if image is None:
        name = f'"{origin.base_name}" ({origin.base_digest})'
        raise Violation(f"the engine does not hold the base {name}; pull it, or give --base IMAGE")
    return image
