"""Wheels unpacked the way pip would, into a folder of this machine that mirrors the image."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prefix:
    """Where Python looks in the image: `/miniconda3` or `/opt/venv`, and the minor that runs there."""

    path: str
    minor: str

    @property
    def executable(self) -> str:
        return f"{self.path}/bin/python{self.minor}"

    @property
    def site_packages(self) -> str:
        """The real folder, links followed."""
        return f"{self.path}/lib/python{self.minor}/site-packages"

    def scheme(self, distribution: str) -> Mapping[str, str]:
        """The installation paths of Python's `posix_prefix` scheme."""
        return {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "scripts": f"{self.path}/bin",
            "data": self.path,
            "headers": f"{self.path}/include/python{self.minor}/{distribution}",
        }


def install_wheel(wheel: Path, prefix: Prefix, root: Path) -> None:
    """Unpack `wheel` below `root` as if that were `/`; scripts of an earlier wheel with the same name are replaced."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    with WheelFile.open(wheel) as source:
        destination = SchemeDictionaryDestination(
            dict(prefix.scheme(source.distribution)),
            interpreter=prefix.executable,
            script_kind="posix",
            destdir=str(root),
            overwrite_existing=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # byte code that a wheel ships by mistake is left out
            install(source=source, destination=destination, additional_metadata={"INSTALLER": b"pip\n"})
