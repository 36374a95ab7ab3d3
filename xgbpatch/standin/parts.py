"""What goes into the images, as trees that mirror their file system."""

from __future__ import annotations

import re
from pathlib import Path

from xgbpatch.standin.installation import install_wheel
from xgbpatch.standin.own_wheel import write_own_wheel
from xgbpatch.standin.recipe import PLUGIN_SOURCE, Layout, template_text
from xgbpatch.standin.tree import TreeWriter
from xgbpatch.standin.wheelhouse import Wheelhouse

_NOT_WANTED = {
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
}
_NOT_WANTED_FILE = re.compile(r".*\.(pyc|a)|_tkinter.*|turtle\.py|sitecustomize\.py|EXTERNALLY-MANAGED")

_TOLERANT_JAVA = """#!/bin/sh
# The base's Java 8 knows -XX:+UseParNewGC, which `serve` passes; this newer one must not stop at it.
exec /usr/bin/java -XX:+IgnoreUnrecognizedVMOptions "$@"
"""


def write_interpreter(tree: TreeWriter, layout: Layout, folder: str) -> None:
    """The interpreter below `folder`, and the virtual environment where the layout has one."""
    interpreter, home = layout.interpreter, f"{folder}{layout.home}"
    name = f"python{interpreter.minor}"
    tree.file(f"{home}/bin/{name}", interpreter.executable)
    tree.folder(f"{folder}{layout.stdlib}", interpreter.stdlib, _keep)
    if interpreter.library is not None:
        tree.file(f"{folder}/usr/lib/{interpreter.library.name}", interpreter.library)
    if layout.venv:
        _write_venv(tree, layout, folder)
    tree.link(f"{folder}{layout.prefix.path}/bin/python3", name)
    tree.link(f"{folder}{layout.prefix.path}/bin/python", name)


def write_packages(tree: TreeWriter, layout: Layout, wheelhouse: Wheelhouse, scratch: Path) -> None:
    """Every wheel, installed; `scratch` is an empty folder with room for a gigabyte."""
    for wheel in wheelhouse.wheels:
        install_wheel(wheel, layout.prefix, scratch)
    tree.folder("packages", scratch, _keep_all)
    tree.text(f"packages{PLUGIN_SOURCE}/ExecutionParameters.java", template_text("ExecutionParameters.java"))


def write_own(tree: TreeWriter, layout: Layout, scratch: Path) -> None:
    """AWS's packages as we wrote them, whose `serve` replaces that of sagemaker-containers, and what MMS reads."""
    root = scratch / "root"
    install_wheel(write_own_wheel(scratch), layout.prefix, root)
    tree.folder("own", root, _keep_all)
    if _needs_tolerant_java(layout):
        tree.text("own/usr/local/bin/java", _TOLERANT_JAVA, mode=0o755)
    tree.text("own/home/model-server/config.properties.tmp", template_text("config.properties.tmp"))


def _write_venv(tree: TreeWriter, layout: Layout, folder: str) -> None:
    prefix, interpreter = layout.prefix, layout.interpreter
    tree.link(f"{folder}{prefix.executable}", f"{layout.home}/bin/python{interpreter.minor}")
    tree.link(f"{folder}{prefix.path}/lib64", "lib")
    configuration = f"home = {layout.home}/bin\ninclude-system-site-packages = false\nversion = {interpreter.version}\n"
    tree.text(f"{folder}{prefix.path}/pyvenv.cfg", configuration)


def _needs_tolerant_java(layout: Layout) -> bool:
    return layout.version.java == 8


def _keep(path: Path) -> bool:
    debug = path.name.startswith("config-") and len(path.parts) == 1
    return path.name not in _NOT_WANTED and not debug and not _NOT_WANTED_FILE.fullmatch(path.name)


def _keep_all(_: Path) -> bool:
    return True
