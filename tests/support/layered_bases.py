"""Bases by hand: the few files of an official image that an inspection reads, in layers as its builder lays them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.layers import Content, Link, Shelf, described, tar_of
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_MANIFEST, Manifest
from xgbpatch.reference import ImageReference

Members = Sequence[tuple[str, Content]]

CONDA = "miniconda3/lib/python3.8"
VENV = "opt/venv/lib/python3.12/site-packages"
PROGRAM = b"\0/versions/3.8.13\0text 3.8.1\0003.45.0\0"

OS: Members = [
    ("lib", Link("usr/lib")),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"),
    ("usr/bin/env", b""),
    ("var/lib/dpkg/status", b"Package: libc6\nVersion: 2.36-9\n"),
]
PYTHON: Members = [
    ("miniconda3/bin/python3.8", PROGRAM),
    ("miniconda3/bin/python", Link("python3.8")),
    (f"{CONDA}/os.py", b""),
    (f"{CONDA}/site-packages/pip/__init__.py", b""),
    (f"{CONDA}/site-packages/pip-24.0.dist-info/METADATA", b"Name: pip\nVersion: 24.0\n"),
]
APT: Members = [("var/lib/dpkg/status", b"Package: libc6\nVersion: 2.31-0ubuntu9\n"), ("usr/sbin/nginx", b"")]


def distribution(site: str, name: str, version: str, *requires: str) -> tuple[str, Content]:
    """Its METADATA."""
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires), "", "Text."]
    return f"{site}/{name}-{version}.dist-info/METADATA", "\n".join(lines).encode()


def package(site: str, prefix: str, python: str) -> Members:
    """The official package, its commands, and xgboost."""
    shebang = f"#!{python}\n".encode()
    return [
        distribution(site, "xgboost", "1.5.2", "scipy"),
        (f"{site}/xgboost/__init__.py", b""),
        (f"{site}/sagemaker_xgboost_container/__init__.py", b""),
        (f"{site}/sagemaker_xgboost_container/serving.py", b"def main(): ...\n"),
        (f"{site}/sagemaker_xgboost_container/training.py", b"def main(): ...\n"),
        (f"{site}/sagemaker_xgboost_container/algorithm_mode/__init__.py", b""),
        (f"{site}/sagemaker_xgboost_container/constants.json", b"{}"),
        (f"{site}/sagemaker_algorithm_toolkit/__init__.py", b"x = 1\n"),
        (f"{prefix}/bin/serve", shebang),
        (f"{prefix}/bin/train", shebang),
    ]


PACKAGE = package(f"{CONDA}/site-packages", "miniconda3", "/miniconda3/bin/python")
SERVING = {
    "SAGEMAKER_SERVING_MODULE": "sagemaker_xgboost_container.serving:main",
    "SAGEMAKER_TRAINING_MODULE": "sagemaker_xgboost_container.training:main",
}


@dataclass
class Base:
    """Layers, oldest first, and the variables of the image."""

    layers: Sequence[Members]
    path: str = "/miniconda3/bin:/usr/bin:/bin"
    environment: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    def __post_init__(self) -> None:
        blobs = [gzip.compress(tar_of(members), mtime=0) for members in self.layers]
        self.publish_target = Shelf({described(blob).digest: blob for blob in blobs})
        self.digests = [described(blob).digest for blob in blobs]
        layers = [vars(described(blob)) for blob in blobs]
        document = {
            "config": {"digest": "sha256:" + "0" * 64, "mediaType": DOCKER_CONFIG, "size": 1},
            "layers": [{"digest": e["digest"], "mediaType": e["media_type"], "size": e["size"]} for e in layers],
        }
        manifest = Manifest(json.dumps(document).encode(), DOCKER_MANIFEST)
        reference = ImageReference.parse("registry.example/base:1").with_digest(manifest.digest)
        self.image = RemoteImage(reference, manifest, self._config())

    @property
    def read(self) -> list[int]:
        """The layers that were asked for, in that order; 0 is the oldest."""
        return [self.digests.index(digest) for digest in self.publish_target.asked]

    def _config(self) -> dict[str, Any]:
        variables = {"PATH": self.path, **SERVING, **self.environment}
        env = [f"{name}={value}" for name, value in variables.items()]
        return {"architecture": self.architecture, "config": {"Env": env, "Labels": {"a": "b"}}}
