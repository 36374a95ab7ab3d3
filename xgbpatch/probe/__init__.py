"""Scripts that run inside an image, on its own Python, and print what they saw. They import nothing of this project."""

from __future__ import annotations

from importlib.resources import files


def source(name: str) -> str:
    """The text of a probe script (`facts`, `inventory`), to be handed to an interpreter in a container."""
    return files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
