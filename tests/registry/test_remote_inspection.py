"""A base in a registry is inspected from its layers, and its facts are kept."""

from __future__ import annotations

from pathlib import Path

from support.handmade import HandImage, put, services_on, tar
from support.registries import LoopbackRegistry
from xgbpatch.inspection import layers
from xgbpatch.progress import Silent
from xgbpatch.registry.client import load_image

SITE = "opt/venv/lib/python3.12/site-packages"
OFFICIAL = [
    {
        "usr/lib64/libc.so.6": b"GNU C Library (GNU libc) stable release version 2.34.\n",
        "usr/bin/python3.12": b"\0003.12.1\0",
        "usr/lib64/python3.12/os.py": b"",
    },
    {
        "opt/venv/pyvenv.cfg": b"home = /usr/bin\n",
        "opt/venv/bin/python3.12": b"\0003.12.1\0",
        f"{SITE}/xgboost-3.2.0.dist-info/METADATA": b"Name: xgboost\nVersion: 3.2.0\n",
    },
    {
        "opt/venv/bin/serve": b"#!/opt/venv/bin/python3.12\n",
        "opt/venv/bin/train": b"#!/opt/venv/bin/python3.12\n",
        **{
            f"{SITE}/{name}.py": b"def main(): ...\n"
            for name in (
                "sagemaker_algorithm_toolkit/__init__",
                "sagemaker_xgboost_container/__init__",
                "sagemaker_xgboost_container/serving",
                "sagemaker_xgboost_container/training",
            )
        },
    },
]


def test_a_base_in_a_registry_is_inspected_once(space: LoopbackRegistry, tmp_path: Path):
    """Its second inspection reads nothing but the cache, whether that has the facts or only the layers."""
    names = ("SAGEMAKER_SERVING_MODULE", "SAGEMAKER_TRAINING_MODULE")
    variables = {"PATH": "/opt/venv/bin:/usr/bin", **dict.fromkeys(names, "a:main")}
    services, reference = services_on(tmp_path), space.reference("base:3.2-0")
    put(services, reference, HandImage([tar(files) for files in OFFICIAL], variables))
    image = load_image(services.registry, reference)
    first = layers.inspect(image, services.blobs_of(reference), services.cache, Silent())
    assert (first.xgboost, first.python.version, first.python.glibc) == ("3.2.0", "3.12.1", "2.34")
    before = space.log.read_text()
    assert layers.inspect(image, services.blobs_of(reference), services.cache, Silent()) == first
    for path in (services.cache / "facts").iterdir():
        path.unlink()
    assert layers.inspect(image, services.blobs_of(reference), services.cache, Silent()) == first
    assert space.log.read_text() == before
