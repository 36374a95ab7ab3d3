"""Wheels are fetched by hash, unpacked whole, slimmed, and never hide a module of the base. Real wheels, made here."""

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from xgbpatch.errors import PackageError
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.patch import wheels
from xgbpatch.patch.packages import Pin
from xgbpatch.progress import Silent


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A valid wheel (PEP 427) with the given members, its RECORD included."""
    info = f"{name}-1.0.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={record_hash(text)},{len(text)}" for path, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return path


def record_hash(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def pin_of(path: Path, sha256: str = "") -> Pin:
    return Pin("a", "1.0", path.name, path.as_uri(), sha256 or hashlib.sha256(path.read_bytes()).hexdigest())


PYTHON = PythonFacts("3.8.13", "/miniconda3/bin/python", "/miniconda3", "/s", "x86_64", "2.27")


def facts_with(*top_levels: str) -> Facts:
    return Facts("sha256:" + "0" * 64, PYTHON, {}, {}, frozenset(top_levels), {}, {}, {})


def test_data_files_land_at_the_prefix_where_extension_modules_look(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": "", "a-1.0.data/data/lib/liba.so": "x"})
    wheels.unpack([wheel], tmp_path / "prefix", PYTHON)
    assert (tmp_path / "prefix/lib/liba.so").read_text() == "x"
    assert (tmp_path / "prefix/lib/python3.8/site-packages/a/__init__.py").exists()


def test_scripts_name_the_interpreter_of_the_image(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": "", "a-1.0.data/scripts/tool": "#!python\nprint()\n"})
    wheels.unpack([wheel], tmp_path / "prefix", PYTHON)
    assert (tmp_path / "prefix/bin/tool").read_text().startswith("#!/miniconda3/bin/python\n")


def test_two_unpackings_are_the_same_tree(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": "x = 1\n"})
    trees = []
    for name in ("one", "two"):
        wheels.unpack([wheel], tmp_path / name, PYTHON)
        trees.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files_of(tmp_path / name)})
    assert trees[0] == trees[1]
    assert not [path for path in trees[0] if path.suffix == ".pyc"]


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_wheel_with_another_hash_is_not_used(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": ""})
    with pytest.raises(PackageError, match="instead of the pinned"):
        wheels.fetch(pin_of(wheel, "0" * 64), tmp_path / "cache", Silent())
    assert not files_of(tmp_path / "cache")


def test_a_fetched_wheel_is_kept(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": ""})
    pin = pin_of(wheel)
    first = wheels.fetch(pin, tmp_path / "cache", Silent())
    wheel.unlink()
    assert wheels.fetch(pin, tmp_path / "cache", Silent()) == first


@pytest.mark.parametrize("content", [b"", b"PK another"], ids=["empty, after a power loss", "another"])
def test_a_kept_wheel_that_is_not_what_was_pinned_is_fetched_again(tmp_path, content):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": ""})
    wheel_file = wheels.fetch(pin_of(wheel), tmp_path / "cache", Silent())
    wheel_file.write_bytes(content)
    assert wheels.fetch(pin_of(wheel), tmp_path / "cache", Silent()) == wheel_file
    assert wheel_file.read_bytes() == wheel.read_bytes()


def test_a_wheel_that_cannot_be_kept_is_fetched_all_the_same(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": ""})
    (tmp_path / "cache").write_text("in the way")
    assert wheels.fetch(pin_of(wheel), tmp_path / "cache", Silent()).read_bytes() == wheel.read_bytes()


def test_a_tampered_member_is_refused(tmp_path):
    wheel = make_wheel(tmp_path, "a", {"a/__init__.py": ""})
    tampered = tmp_path / "b" / wheel.name
    tampered.parent.mkdir()
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(tampered, "w") as target:
        for member in source.namelist():
            target.writestr(member, b"import os" if member == "a/__init__.py" else source.read(member))
    with pytest.raises(PackageError, match="does not hold what its RECORD says"):
        wheels.unpack([tampered], tmp_path / "prefix", PYTHON)


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        pytest.param({"numpy/__init__.py": ""}, True, id="a package of the base"),
        pytest.param({"numpy.py": ""}, True, id="a module of the base"),
        pytest.param({"google/new/__init__.py": ""}, False, id="a namespace that both share"),
        pytest.param({"other/__init__.py": ""}, False, id="a package of its own"),
    ],
)
def test_a_module_of_the_base_is_never_hidden(tmp_path, members, refused):
    wheels.unpack([make_wheel(tmp_path, "a", members)], tmp_path / "prefix", PYTHON)
    facts = facts_with("numpy", "google")
    if refused:
        with pytest.raises(PackageError, match="would hide the base's module"):
            wheels.refuse_shadowing(tmp_path / "prefix", facts)
    else:
        wheels.refuse_shadowing(tmp_path / "prefix", facts)


def test_slimming_deletes_what_matches_and_counts_it(tmp_path):
    (tmp_path / "lib/onedal").mkdir(parents=True)
    (tmp_path / "lib/onedal/a.so").write_bytes(b"12345")
    (tmp_path / "lib/libtbb.so").write_bytes(b"1")
    (tmp_path / "lib/libx.so").symlink_to("gone")
    assert wheels.slim(tmp_path, ["lib/onedal", "lib/libx*"]) >= 5
    assert files_of(tmp_path) == [tmp_path / "lib/libtbb.so"]
