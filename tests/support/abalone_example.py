"""The example of the README: where it is, and the size of the pictures that it draws."""

import struct
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "abalone"
README_PICTURE = EXAMPLE.parents[1] / "docs" / "abalone.png"


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height
