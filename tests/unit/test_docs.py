"""The documents say what the program does: its tables, its promise, its variables; their links lead somewhere."""

import ast
import pkgutil
import re
import subprocess
import sys

import pytest
import xgboost

from support.documentation import PAGES, ROOT
from xgbpatch import layout, provenance
from xgbpatch.config.loader import VARIABLES
from xgbpatch.config.settings import KEYS
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.metrics import metric, metrics_of
from xgbpatch.overlays import settings
from xgbpatch.patch.compose import compose
from xgbpatch.spec import Spec


def test_the_command_reference_is_current():
    result = subprocess.run(
        [sys.executable, ROOT / "scripts/docs", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.group("docs")
def test_the_site_is_not_built_with_a_link_that_leads_nowhere(tmp_path):
    """The stage `docs` of scripts/test builds the real pages, so."""
    wrong = ("nothing.md", "other.md#nothing", "#nothing", "/other.html", "../nothing.py", "nothing.png")
    for name, text in {
        "mkdocs.yml": f"INHERIT: {ROOT}/mkdocs.yml\nnav: [index.md, other.md]\nextra_css: []\nplugins: []\n",
        "docs/index.md": "# Start\n\n[a](../there.py)\n" + "".join(f"[a]({target})\n" for target in wrong),
        "docs/other.md": "# Other\n",
        "docs/forgotten.md": "# Forgotten\n",
        "there.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    warnings = [line for line in built.stderr.splitlines() if line.startswith("WARNING")]
    assert built.returncode == 1
    assert "forgotten.md" in built.stderr
    assert len(warnings) == 1 + len(wrong), warnings
    for target in wrong:
        assert any(f" {target!r}" in line or f" {target}, " in line for line in warnings), target


def test_the_python_api_names_what_there_is():
    """The site leaves out what it does not find, and says nothing."""
    page = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    entries = re.findall(r"^::: (\S+)\n(?:    options:\n      members: \[(.*)\])?", page, re.M)
    assert len(entries) == page.count("\n::: ")
    for path, members in entries:
        subject = pkgutil.resolve_name(path)
        assert [name for name in members.split(", ") if name and not hasattr(subject, name)] == [], path


def test_every_runtime_variable_has_its_row():
    text = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    part = re.search(r"## Of an image\n(.*?)\n## ", text, re.S)[1]
    rows = dict(re.findall(r"^\| `(XGBPATCH_\w+)` \|(.*)\|$", part, re.M))
    assert set(rows) == {variable.name for variable in settings.VARIABLES}
    for variable in settings.VARIABLES:
        for value in (*variable.allowed, variable.default):
            assert f"`{value}`" in rows[variable.name] or not value, (variable.name, value)


def test_every_build_variable_and_key_is_documented():
    text, variables = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("configuration.md", "variables.md")
    )
    for variable in VARIABLES:
        assert f"`{variable.name}`" in variables, variable.name
    for key in KEYS:
        assert f"`{key}`" in text, key


def plain_build():
    """What a build without a wish adds: files, variables and labels."""
    facts = Facts(
        digest=f"sha256:{'0' * 64}",
        python=PythonFacts("3.12.8", "/p/bin/python3", "/p", "/p/lib/python3.12/site-packages", "x86_64", "2.34"),
        distributions={}, modules={}, top_levels=frozenset(), commands={}, environment={}, labels={},
    )  # fmt: skip
    origin = provenance.Provenance(*[""] * 7, (), (), (), "")
    return compose(Spec("3.2-0", "us-west-2"), facts), provenance.write(origin)


def test_the_promise_says_exactly_what_a_plain_build_sets():
    patch, labels = plain_build()
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/image.md"))
    promise = re.search(r"\*\*What you did not ask to change.*?\n\n", readme, re.S)[0]
    plain = re.search(r"## A plain build\n(.*?)\n## ", page, re.S)[1]
    for text in (promise, plain):
        assert set(re.findall(r"`([A-Z_]+)`", text)) == set(patch.environment)
    assert "three variables" in promise
    assert f" {len(labels)} labels" in promise
    for name in ("SAGEMAKER_SERVING_MODULE", "SAGEMAKER_TRAINING_MODULE"):
        assert f"`{patch.environment[name]}`" in plain
    assert f"{layout.OVERLAYS}/" in plain
    assert all(file.target.startswith(f"{layout.OVERLAYS}/{layout.OVERLAY_PACKAGE}/") for file in patch.files)
    table = re.search(r"## What it remembers\n(.*?)\n\n[^|]", page, re.S)[1]
    assert set(re.findall(r"`((?:org|io)\.[\w.-]+)`", table)) == set(labels)


def test_the_documented_expression_is_ours_and_finds_its_metric_in_a_line_of_a_training(capsys):
    text = (ROOT / "docs/image.md").read_text(encoding="utf-8")
    (expression,) = re.findall(r"`(\S*validation-rmse\S*)`", text)
    assert expression == metric("rmse", metrics_of("")).definition("validation")["Regex"]
    data = xgboost.DMatrix([[0.0], [1.0]], label=[0, 3])
    options = {"eval_metric": ["rmse", "mae"], "objective": "reg:squarederror"}
    xgboost.train(options, data, 1, evals=[(data, "train"), (data, "validation")])
    (line,) = capsys.readouterr().out.splitlines()
    value = re.search(r"validation-rmse:([0-9.]+)", line)[1]
    assert "mae" in line.partition(value)[2], "another metric has to follow"
    for logged in (line, line.replace("\t", "#011")):  # as it is printed, and as CloudWatch keeps it
        assert re.search(expression, logged).groups() == (value,)


def messages():
    """Every text of the package that is no docstring, by module."""
    for path in sorted((ROOT / "xgbpatch").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path.name, node.value


def test_a_message_names_no_page_that_the_package_does_not_bring():
    texts = list(messages())
    named = [(name, text) for name, text in texts if re.search(r"(?<!/main/)\bdocs/|\b[A-Z]\w+\.md\b", text)]
    assert named == []
    scripts = [(name, text) for name, text in texts if "scripts/" in text and "checkout" not in text]
    assert scripts == []
