"""Runs inside the base image (Python 3.6 or newer, standard library only); prints one JSON document."""

import email.parser
import glob
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tokenize

UPSTREAM = ("sagemaker_xgboost_container", "sagemaker_algorithm_toolkit")


def python_facts():
    return {
        "version": platform.python_version(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "site_packages": sysconfig.get_paths()["purelib"],
        "machine": platform.machine(),
        "glibc": glibc(),
    }


def glibc():
    """What runs here; up to Python 3.7 `platform.libc_ver` tells what the interpreter was built for."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):
        return ""
    return version if name == "glibc" else ""


def site_directories():
    paths = sysconfig.get_paths()
    return [path for path in dict.fromkeys((paths["purelib"], paths["platlib"])) if os.path.isdir(path)]


def distributions():
    documents = []
    for directory in site_directories():
        patterns = ("*.dist-info/METADATA", "*.egg-info/PKG-INFO", "*.egg-info")
        for path in sorted(file for pattern in patterns for file in glob.glob(os.path.join(directory, pattern))):
            if os.path.isfile(path):
                documents.append(metadata(path))
    return documents


def metadata(path):
    with open(path, encoding="utf-8", errors="replace") as stream:
        message = email.parser.HeaderParser().parse(stream)
    requires = message.get_all("Requires-Dist") or []
    return {"name": message["Name"], "version": message["Version"], "requires": [str(line) for line in requires]}


def top_levels():
    names = set()
    for directory in site_directories():
        for entry in os.listdir(directory):
            name = entry.split(".")[0]
            importable = os.path.isdir(os.path.join(directory, entry)) and "." not in entry
            if name.isidentifier() and (importable or entry.endswith((".py", ".so"))):
                names.add(name)
    return sorted(names)


def modules():
    documents = {}
    for package in UPSTREAM:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations if spec else None) or []:
            documents.update(modules_below(root, package))
    return documents


def modules_below(root, package):
    documents = {}
    for directory, _, names in os.walk(root):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                relative = os.path.relpath(path, root)[: -len(".py")].split(os.sep)
                dotted = [package] + [part for part in relative if part != "__init__"]
                documents[".".join(dotted)] = module(path)
    return documents


def module(path):
    with open(path, "rb") as stream:
        content = stream.read()
    return {
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": text(content),
    }


def text(content):
    """In the encoding that the module declares (PEP 263); one that Python would not read is shown all the same."""
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
        return content.decode(encoding)
    except (LookupError, SyntaxError, UnicodeError):
        return content.decode("utf-8", "replace")


def complaints():
    """What `pip check` says; None where the image has no pip."""
    if importlib.util.find_spec("pip") is None:
        return None
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    return sorted(line.strip() for line in lines if line.strip() and "No broken requirements" not in line)


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "python": python_facts(),
                "distributions": distributions(),
                "modules": modules(),
                "top_levels": top_levels(),
                "commands": {name: shutil.which(name) or "" for name in ("serve", "train")},
                "complaints": complaints(),
            }
        )
    )
