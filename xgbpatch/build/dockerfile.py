"""The Dockerfile and the build context: values in, the same bytes out for the same values."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

from xgbpatch import layout, provenance
from xgbpatch.build import layer
from xgbpatch.build.definition import ImageDefinition
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.compose import Patch

CONTEXT_FOLDER = "xgbpatch"  # where the overlay's files lie in the build context


def of_definition(definition: ImageDefinition) -> str:
    """The Dockerfile of an image. A base that only the engine holds is named by its image ID."""
    reference, origin = definition.base.reference, definition.provenance
    return render(
        base=str(reference.pinned) if reference.host else reference.digest,
        version=origin.version,
        tool_version=origin.tool_version,
        environment=definition.patch.environment,
        labels=provenance.write(origin),
    )


def render(
    *, base: str, version: str, tool_version: str, environment: Mapping[str, str], labels: Mapping[str, str]
) -> str:
    """The Dockerfile's text; raises `ConfigurationError` for a value that no Dockerfile can carry."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # which builds in a registry need not import

    loader = PackageLoader("xgbpatch")
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True)  # noqa: S701 — no HTML
    templates.filters["words"] = words
    template = templates.get_template("Dockerfile.j2")
    return template.render(
        base=base,
        version=version,
        tool_version=tool_version,
        environment=dict(sorted(environment.items())),
        labels=labels,
        folder=CONTEXT_FOLDER,
        root=layout.ROOT,
    )


def words(values: Mapping[str, str]) -> str:
    """`NAME="value"` for each, a line each, as one instruction: a step of the builder is a container started."""
    return " \\\n    ".join(f"{name}={quoted(value)}" for name, value in values.items())


def quoted(value: str) -> str:
    """`value` as a double-quoted Dockerfile word that the builder reads back unchanged."""
    if any(character in value for character in "\n\r\0"):
        raise ConfigurationError(f'"{value!r}" holds a line break, which no ENV or LABEL of a Dockerfile can carry')
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


# The build context: a deterministic tar, so that equal patches give the engine equal bytes.


@contextmanager
def packed_context(dockerfile: str, patch: Patch) -> Iterator[IO[bytes]]:
    """An open, rewound tar of the Dockerfile and the patch's files; it vanishes with the block.

    Sorted names, owner 0:0, modes 0644 and 0755, all times zero. Raises `BuildError` when it cannot be written.
    """
    stream: IO[bytes] | None = None
    try:
        stream = tempfile.TemporaryFile(prefix="xgbpatch-context-")  # noqa: SIM115 — closed below
        with layer.tar_writer(stream) as tar:
            layer.add_bytes(tar, "Dockerfile", dockerfile.encode())
            layer.add_patch(tar, patch, CONTEXT_FOLDER)
        stream.flush()
    except OSError as error:
        with suppress(OSError):  # closing writes what is left, which fails on a full disk again
            if stream is not None:
                stream.close()
        raise layer.unwritable("build context", error) from error
    with stream:
        stream.seek(0)
        yield stream
