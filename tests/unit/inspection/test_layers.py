"""Facts from layers: as few layers as it takes, the same answer as Python itself gives, or a clear refusal."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from support.layered_bases import (
    APT,
    CONDA,
    OS,
    PACKAGE,
    PROGRAM,
    PYTHON,
    SERVING,
    VENV,
    Base,
    Members,
    distribution,
    package,
)
from support.layers import Content, Link
from xgbpatch.errors import BaseImageError
from xgbpatch.inspection import layers
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.progress import Silent

SITE = f"{CONDA}/site-packages"


def inspected(base: Base, cache: Path | None = None) -> Facts:
    return layers.inspect(base.image, base.publish_target, cache, Silent())


def test_what_a_conda_base_holds():
    base = Base([OS, PYTHON, [distribution(SITE, "NumPy", "1.24.1")], PACKAGE])
    facts = inspected(base)
    assert facts.python == PythonFacts("3.8.13", "/miniconda3/bin/python", "/miniconda3", f"/{SITE}", "x86_64", "2.36")
    assert {name: entry.version for name, entry in facts.distributions.items()} == {
        "numpy": "1.24.1", "pip": "24.0", "xgboost": "1.5.2",
    }  # fmt: skip
    assert facts.top_levels == {"pip", "xgboost", "sagemaker_xgboost_container", "sagemaker_algorithm_toolkit"}
    assert sorted(facts.modules) == [
        "sagemaker_algorithm_toolkit",
        "sagemaker_xgboost_container",
        "sagemaker_xgboost_container.algorithm_mode",
        "sagemaker_xgboost_container.serving",
        "sagemaker_xgboost_container.training",
    ]
    assert facts.modules["sagemaker_algorithm_toolkit"].source == "x = 1\n"
    assert facts.commands == {"serve": "/miniconda3/bin/serve", "train": "/miniconda3/bin/train"}
    assert facts.complaints == ("xgboost 1.5.2 requires scipy, which is not installed.",)
    assert (facts.digest, facts.labels) == (base.image.manifest.digest, {"a": "b"})
    assert base.read == [3, 2, 1, 0], "only the oldest tells the version of glibc here"


def test_layers_older_than_python_are_not_read():
    base = Base([OS, [("usr/local/cuda/lib/libcudart.so", b"")], PYTHON, APT, PACKAGE])
    assert inspected(base).python.glibc == "2.31"
    assert base.read == [4, 3, 2]


def test_a_python_that_replaced_an_older_one_does_not_end_the_search():
    """`conda install python=3.8.13` over Miniconda's: what else it had installed is still there, further down."""
    older = [*PYTHON, distribution(SITE, "certifi", "2022.1"), ("miniconda3/conda-meta/python-3.8.5-0.json", b"")]
    newer = [*PYTHON, ("miniconda3/conda-meta/.wh.python-3.8.5-0.json", b"")]
    base = Base([OS, older, [*newer, *APT], PACKAGE])
    assert "certifi" in inspected(base).distributions
    assert base.read == [3, 2, 1]


def test_what_a_newer_layer_removed_is_not_there():
    """`conda clean` and `pip uninstall` in a layer of their own."""
    removed = [(f"{SITE}/.wh.pip", b""), (f"{SITE}/.wh.pip-24.0.dist-info", b"")]
    facts = inspected(Base([OS, PYTHON, removed, PACKAGE]))
    assert "pip" not in {*facts.distributions, *facts.top_levels}
    assert facts.complaints is None, "there is no pip to ask"


def _venv(*more: tuple[str, Content]) -> Base:
    """As 3.2-0 is built: an environment of the system's Python, whose library folder is lib64."""
    system: Members = [
        ("usr/lib64/libc.so.6", b"GNU C Library (GNU libc) stable release version 2.34.\n"),
        ("usr/bin/python3.12", b""),
        ("usr/lib64/libpython3.12.so.1.0", b"\0003.12.1\0"),
        ("usr/lib64/python3.12/os.py", b""),
        ("usr/lib/python3.12/site-packages/", None),
    ]
    environment: Members = [
        ("opt/venv/bin/python3.12", Link("/usr/bin/python3.12")),
        ("opt/venv/lib64", Link("lib")),
        ("opt/venv/pyvenv.cfg", b"home = /usr/bin\nversion = 3.12.0\n"),
    ]
    installed = package(VENV, "opt/venv", "/opt/venv/bin/python3.12")
    return Base([system, environment, [*installed, *more]], path="/opt/venv/bin:/usr/bin")


def test_an_environment_of_a_python_in_lib64():
    facts = inspected(_venv())
    assert facts.python == PythonFacts("3.12.1", "/opt/venv/bin/python3.12", "/opt/venv", f"/{VENV}", "x86_64", "2.34")
    path = "/opt/venv/lib64/python3.12/site-packages/sagemaker_xgboost_container/serving.py"
    assert facts.modules["sagemaker_xgboost_container.serving"].path == path, "lib64 is first on sys.path"


@pytest.mark.parametrize(
    ("shebang", "executable"),
    [
        ("#!/miniconda3/bin/python3.8", "/miniconda3/bin/python3.8"),
        ("#! /miniconda3/bin/python -E", "/miniconda3/bin/python"),
        ("#!/usr/bin/env python", "/miniconda3/bin/python"),
        ("#!/usr/bin/env -S python3.8 -E", "/miniconda3/bin/python3.8"),
        ("#!/bin/sh", "/miniconda3/bin/python"),
    ],
)
def test_the_interpreter_is_the_one_that_serve_names(shebang: str, executable: str):
    facts = inspected(Base([OS, PYTHON, [*PACKAGE, ("miniconda3/bin/serve", f"{shebang}\n".encode())]]))
    assert (facts.python.executable, facts.python.prefix) == (executable, "/miniconda3")


def test_commands_are_the_first_ones_on_path_that_can_be_run():
    other = [("opt/one/serve", b"#!/bin/sh\n"), ("opt/two/bin/serve/", None), ("opt/three/bin/train", b"#!/bin/sh\n")]
    path = "relative:/opt/one:/opt/two/bin:/opt/three/bin:/miniconda3/bin"
    facts = inspected(Base([OS, PYTHON, [*PACKAGE, *other]], path=path))
    assert facts.commands == {"serve": "/miniconda3/bin/serve", "train": "/opt/three/bin/train"}


def test_a_package_on_pythonpath_comes_before_the_installed_one():
    other = [("opt/code/sagemaker_algorithm_toolkit/__init__.py", b"y = 2\n")]
    base = Base([OS, PYTHON, [*PACKAGE, *other]], environment={"PYTHONPATH": ":/opt/code"})
    assert inspected(base).modules["sagemaker_algorithm_toolkit"].path.startswith("/opt/code/")


def test_eggs_are_distributions_and_their_requirements_count():
    egg = f"{SITE}/sagemaker_containers-2.8.6.egg-info"
    requirements = b'typing\n\n[:python_version < "3"]\nsix\n\n[test]\ntox\n'
    eggs = [
        (f"{egg}/PKG-INFO", b"Name: sagemaker-containers\nVersion: 2.8.6\n"),
        (f"{egg}/requires.txt", requirements),
        (f"{SITE}/PyYAML.egg-info", b"Name: PyYAML\nVersion: 5.1\n"),
    ]
    facts = inspected(Base([OS, PYTHON, [*PACKAGE, *eggs]]))
    assert facts.distributions["pyyaml"].version == "5.1"
    assert facts.distributions["sagemaker-containers"].requires == ()
    assert "sagemaker-containers 2.8.6 requires typing, which is not installed." in facts.complaints
    assert len(facts.complaints) == 2


def test_python_of_another_machine_and_without_glibc():
    musl = [("lib/ld-musl-aarch64.so.1", b"")]
    python = inspected(Base([musl, PYTHON, PACKAGE], architecture="arm64")).python
    assert (python.machine, python.glibc) == ("aarch64", "")


def test_the_header_tells_the_version_where_the_program_does_not():
    header = ("miniconda3/include/python3.8/patchlevel.h", b'#define PY_VERSION      \t"3.8.13+"\n')
    facts = inspected(Base([OS, [*PYTHON, ("miniconda3/bin/python3.8", b""), header], PACKAGE]))
    assert facts.python.version == "3.8.13"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("miniconda3/bin/python3.8", b""), "does not tell its version: none"),
        (("miniconda3/bin/python3.8", PROGRAM + b"3.8.99\0"), "3.8.13, 3.8.99"),
        (("miniconda3/bin/python", Link("python3")), "no Python 3"),
        (("miniconda3/bin/serve", b"#!/usr/bin/python3.8\n"), "no Python 3"),
    ],
)
def test_a_python_that_files_do_not_tell_is_refused_with_a_way_out(changed: tuple[str, Content], reason: str):
    layers = [OS, [member for member in PYTHON if member[0] != changed[0]], PACKAGE, [changed]]
    with pytest.raises(BaseImageError, match=reason) as caught:
        inspected(Base(layers))
    assert "registry.example/base:1" in caught.value.message
    assert "--builder docker" in caught.value.next_step


def test_the_operating_systems_own_python_is_left_to_the_engine():
    system = [("usr/bin/python3.8", PROGRAM), ("usr/lib/python3.8/os.py", b"")]
    site = "usr/lib/python3/dist-packages"
    with pytest.raises(BaseImageError, match="operating system"):
        inspected(Base([OS, system, package(site, "usr", "/usr/bin/python3.8")], path="/usr/bin"))


def test_an_image_that_is_none_is_refused_with_all_that_it_lacks():
    bare = [member for member in PACKAGE if "serving" not in member[0] and "xgboost-" not in member[0]]
    base = Base([OS, PYTHON, bare])
    base.image.config["config"]["Env"] = [f"PATH={base.path}"]
    with pytest.raises(BaseImageError) as caught:
        inspected(base)
    for lacking in ('module "sagemaker_xgboost_container.serving"', 'distribution "xgboost"', *SERVING):
        assert lacking in caught.value.message


def test_an_image_without_serve_is_refused():
    with pytest.raises(BaseImageError, match='is no SageMaker XGBoost image: it lacks command "serve"'):
        inspected(Base([OS, PYTHON]))


def test_a_second_inspection_reads_no_layer(tmp_path: Path):
    base = Base([OS, PYTHON, PACKAGE])
    first = inspected(base, tmp_path)
    base.publish_target.asked.clear()
    assert inspected(base, tmp_path) == first
    assert base.read == []


def test_layers_that_a_newer_base_shares_are_not_read_again(tmp_path: Path):
    inspected(Base([OS, PYTHON, PACKAGE]), tmp_path)
    newer = Base([OS, PYTHON, [*PACKAGE, (f"{SITE}/sagemaker_algorithm_toolkit/new.py", b"")]])
    assert "sagemaker_algorithm_toolkit.new" in inspected(newer, tmp_path).modules
    assert newer.read == [2]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x1f\x8b", b"[]"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: bytes):
    base = Base([OS, PYTHON, PACKAGE])
    first = inspected(base, tmp_path)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(paths) == 4
    for path in paths:
        path.write_bytes(damage)
    assert inspected(base, tmp_path) == first
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(path.name for path in paths)


def test_a_cache_with_a_byte_changed_is_made_anew(tmp_path: Path):
    base = Base([OS, PYTHON, PACKAGE])
    first = inspected(base, tmp_path)
    (layer, *_) = (tmp_path / "layers").iterdir()
    content = layer.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 40)):
        shutil.rmtree(tmp_path / "facts")
        layer.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        assert inspected(base, tmp_path) == first


def test_a_cache_that_cannot_be_written_is_gone_without(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    base = Base([OS, PYTHON, PACKAGE])
    assert inspected(base, tmp_path / "file" / "cache") == inspected(base)


def patchlevel(version: bytes) -> Members:
    return [("miniconda3/include/python3.8/patchlevel.h", b'#define PY_VERSION "' + version + b'"\n')]


HOSTILE: dict[str, Members] = {
    "a version of Python that is no text": patchlevel(b"\xff\xfe"),
    "a version of Python that is none": patchlevel(b"three"),
    "a version of Python of many digits": patchlevel(b"3.8." + b"9" * 5000),
    "a marker that compares what cannot be compared": [distribution(SITE, "a", "1", 'b; python_version ~= "x"')],
    "a marker within markers": [distribution(SITE, "a", "1", "b; " + "(" * 5000)],
    "a version of many digits": [distribution(SITE, "a", "9" * 5000, "xgboost")],
    "a requirement of many digits": [distribution(SITE, "a", "1", f"xgboost=={'9' * 5000}")],
    "a C library of many digits": [
        ("usr/lib/libc.so.6", b"GNU C Library (x) stable release version " + b"9" * 5000 + b".1.\n"),
        ("var/lib/dpkg/status", b"Package: libc6\nVersion: " + b"9" * 5000 + b".1\n"),
    ],
    "a C library that is another file": [
        distribution(SITE, "a", "1"),
        ("usr/lib/libc.so.6", Link(f"{SITE}/a-1.dist-info/METADATA", hard=True)),
    ],
    "names that are no UTF-8": [(f"{SITE}/sagemaker_xgboost_container/\udcff.py", b"x = 1\n")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_what_a_stranger_wrote_is_facts_or_a_refusal(members: Members, tmp_path: Path):
    with suppress(BaseImageError):
        first = inspected(Base([OS, PYTHON, PACKAGE, members]), tmp_path)
        assert inspected(Base([OS, PYTHON, PACKAGE, members]), tmp_path) == first, "what is kept is what was seen"
