"""Requirements that are missing or not met, judged for the image's Python and never for this one."""

import pytest

from xgbpatch.build import verify
from xgbpatch.inspection import pip_check
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts
from xgbpatch.patch.compose import Patch, PatchFile

PYTHON = PythonFacts("3.7.10", "/miniconda3/bin/python", "/miniconda3", "/miniconda3/lib", "aarch64", "2.27")


def complaints(*requirements: str) -> list[str]:
    distributions = [
        Distribution("numpy", "1.21.6"),
        Distribution("old", "2004d"),
        Distribution("a", "1", requirements),
    ]
    return list(pip_check.complaints(distributions, PYTHON))


@pytest.mark.parametrize(
    ("requirement", "line"),
    [
        ("numpy", ""),
        ("NumPy>=1.21,<2", ""),
        ("numpy[extra]>=1.20", ""),
        ("numpy>=1.22", "a 1 has requirement numpy>=1.22, but you have numpy 1.21.6."),
        ("Num.Py", "a 1 requires num-py, which is not installed."),
        ("numpy (>=1.22)", "a 1 has requirement numpy>=1.22, but you have numpy 1.21.6."),
        ("b; python_version < '3.8'", "a 1 requires b, which is not installed."),
        ("b; python_version >= '3.8'", ""),
        ("b; python_full_version == '3.7.10'", "a 1 requires b, which is not installed."),
        ("b; platform_machine == 'aarch64'", "a 1 requires b, which is not installed."),
        ("b; platform_machine == 'x86_64'", ""),
        ("b; sys_platform == 'linux' and os_name == 'posix'", "a 1 requires b, which is not installed."),
        ("b; platform_system == 'Windows'", ""),
        ("b; extra == 'plots'", ""),
        ("numpy>=99; extra == 'plots'", ""),
        ("not a requirement", ""),
        ("old>=1", "a 1 has requirement old>=1, but you have old 2004d."),
    ],
)
def test_a_requirement_is_judged_as_pip_does(requirement: str, line: str):
    assert complaints(requirement) == ([line] if line else [])


def test_lines_are_sorted_and_each_is_there_once():
    assert complaints("z", "b", "b") == [
        "a 1 requires b, which is not installed.",
        "a 1 requires z, which is not installed.",
    ]


def test_only_what_the_patch_adds_is_complained_of():
    distributions = [Distribution("numpy", "1.21.6"), Distribution("base", "1", ("gone", "slicer>=2"))]
    facts = Facts("", PYTHON, {each.name: each for each in distributions}, {}, frozenset(), {}, {}, {})
    site = "/opt/xgbpatch/packages/lib/python3.7/site-packages"
    shap = b"Name: SHAP\nVersion: 0.1\nRequires-Dist: numba\n\nRequires-Dist: x\n"
    files = (
        PatchFile(f"{site}/shap-0.1.dist-info/METADATA", shap),
        PatchFile(f"{site}/slicer-1.dist-info/METADATA", b"Name: slicer\nVersion: 1\n"),
        PatchFile(f"{site}/slicer-1.dist-info/RECORD", b"Name: c\nVersion: 1\nRequires-Dist: nothing\n"),
        PatchFile("/opt/xgbpatch/user/c-1.dist-info/METADATA", b"Name: c\nVersion: 1\nRequires-Dist: nothing\n"),
    )
    assert [str(each.name) for each in verify.added_distributions(Patch(files, {}))] == ["shap", "slicer"]
    assert verify.added_complaints(facts, Patch(files, {})) == (
        "base 1 has requirement slicer>=2, but you have slicer 1.",
        "shap 0.1 requires numba, which is not installed.",
    )
    assert verify.added_complaints(facts, Patch((), {})) == ()


def test_metadata_is_read_as_a_header():
    metadata = pip_check.parse_metadata(
        b"Name: a\r\nVersion: 1\r\nRequires-Dist: b ;\r\n  python_version < '4'\r\nX: \xff\r\n\r\nName: z\r\n"
    )
    assert (metadata.name, metadata.version) == ("a", "1")
    assert metadata.requires == ("b ;\n  python_version < '4'",)
    assert pip_check.parse_metadata(b"").name == ""


def test_requirements_of_an_egg_are_those_of_no_extra():
    text = b"a>=1\n\n[:python_version < '3']\nb\n\n[extra]\nc\n\n[extra:os_name == 'nt']\nd\n"
    assert list(pip_check.egg_requirements(text)) == ["a>=1", "b ; python_version < '3'"]
