"""A base in miniature, as files tell it: a Python, the stand-in's modules, xgboost's metadata. Nothing of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

from support.handmade import HandImage, tar

PACKAGE = "sagemaker_xgboost_container"
SERVE_UTILS = f"{PACKAGE}/algorithm_mode/serve_utils.py"


@dataclass(frozen=True)
class HandBase:
    """What can differ from one base to the next. `modules` (path below site-packages → text) replace or add to the
    stand-in's; `distributions` are name → version."""

    python: str = "3.12.8"
    prefix: str = "opt/python"
    glibc: str = "2.36"
    distributions: Mapping[str, str] = field(default_factory=lambda: {"xgboost": "3.2.0", "numpy": "2.1.0"})
    modules: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=lambda: {"maintainer": "AWS", "month": "october"})
    settings: Mapping[str, object] = field(default_factory=lambda: {"Cmd": ["serve"], "WorkingDir": "/etc"})
    architecture: str = "amd64"
    patches: str = ""  # what the operating system's layer holds beside: a security fix changes it

    @property
    def minor(self) -> str:
        return self.python.rpartition(".")[0]

    @cached_property
    def image(self) -> HandImage:
        """Three layers: the operating system's, Python's, and the container's."""
        environment = {
            "PATH": f"/{self.prefix}/bin:/usr/bin:/bin",
            "SAGEMAKER_SERVING_MODULE": f"{PACKAGE}.serving:main",
            "SAGEMAKER_TRAINING_MODULE": f"{PACKAGE}.training:main",
            "LANG": "C.UTF-8",
            **self.environment,
        }
        layers = [self._system(), self._interpreter(), self._container()]
        return HandImage(layers, environment, self.labels, self.settings, architecture=self.architecture)

    def with_module(self, path: str, old: str, new: str) -> HandBase:
        """The same with `old` of a module's text become `new`."""
        text = {**stand_in_modules(), **self.modules}[path]
        assert old in text
        return replace(self, modules={**self.modules, path: text.replace(old, new)})

    def _system(self):
        status = f"Package: libc6\nVersion: {self.glibc}-9\n\nPackage: openssl\nVersion: 3{self.patches}\n"
        return tar({"var/lib/dpkg/status": status.encode(), "etc/ssl": self.patches.encode()})

    def _interpreter(self):
        program = f"python{self.minor}"
        version = f'#define PY_VERSION "{self.python}"\n'.encode()
        return tar(
            {
                f"{self.prefix}/bin/{program}": b"\x7fELF\0" + self.python.encode() + b"\0",
                f"{self.prefix}/lib/{program}/os.py": b"",
                f"{self.prefix}/include/{program}/patchlevel.h": version,
            },
        )

    def _container(self):
        site = f"{self.prefix}/lib/python{self.minor}/site-packages"
        script = f"#!/{self.prefix}/bin/python{self.minor}\n".encode()
        scripts = [f"{self.prefix}/bin/{name}" for name in ("serve", "train")]
        files = dict.fromkeys(scripts, script)
        files |= {f"{site}/{path}": text.encode() for path, text in {**stand_in_modules(), **self.modules}.items()}
        for name, version in self.distributions.items():
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            files[f"{site}/{name}-{version}.dist-info/METADATA"] = metadata.encode()
        return tar(files)


@cache
def stand_in_modules() -> Mapping[str, str]:
    """The stand-in's own source, path below site-packages → text."""
    root = Path(str(files("xgbpatch").joinpath("standin/source")))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}
