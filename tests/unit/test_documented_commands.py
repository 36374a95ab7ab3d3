"""Every command on the pages parses: programs, options and values exist, and code compiles.

And each block of commands is run by a test, or the table in support/documented_commands.toml says why it is not.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.session
import botocore.validate
import click
import pytest
from botocore import xform_name

from support.documentation import PAGES, ROOT, SHELL, Block, blocks, commands, runs, runs_of, verdicts
from xgbpatch.cli import cli
from xgbpatch.config.loader import read_toml
from xgbpatch.util import loads

PROGRAMS = {  # of others, whose options are not checked
    "apt-get", "cat", "cd", "cosign", "curl", "docker", "export", "git", "grep", "jq", "jupytext", "lint-imports",
    "mkdir", "mkdocs", "mount", "pip", "pipx", "pre-commit", "pytest", "python", "python3", "rm", "sleep", "tar",
    "umount", "unzip", "uvx", "wc",
}  # fmt: skip
OF_THE_CLI_ALONE = {("cloudformation", "deploy"), ("codeartifact", "login"), ("ecr", "get-login-password")}
OPTIONS_OF_AWS = {"region", "profile", "output", "query", "cli-input-json", "no-cli-pager"}
SCRIPTS = blocks(*SHELL)
PYTHON = blocks("python")
EXTRAS = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def ids(block: Block) -> str:
    return block.name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With the folder of a repository that `ci init` is to write into."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "infrastructure").mkdir()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("block", SCRIPTS, ids=ids)
def test_every_command_of_a_block_is_one_that_there_is(block):
    for words in commands(block.script):
        program = Path(words[0]).name
        if program == "xgbpatch":
            parse(words[1:])
        elif words[:2] == ["scripts/bench", "peers"]:
            parse(["bench", *words[2:]])  # which gets its options
        elif words[0].startswith("scripts/"):
            check_script(words)
        elif program == "aws":
            check_aws(words[1:])
        else:
            assert program in PROGRAMS, f"{words} is of no program that the pages use"
            check_files(words)


@pytest.mark.parametrize("block", SCRIPTS, ids=ids)
def test_a_block_is_run_by_one_test_or_the_table_says_why_not(block):
    assert len(verdicts(block)) == 1, "give it one test, or one reason, in tests/support/documented_commands.toml"


def test_the_table_names_blocks_that_there_are_and_tests_that_run_them():
    texts: dict[str, list[str]] = {}
    for block in SCRIPTS:
        texts.setdefault(block.of, []).append(block.text)
    for place, table in runs().items():
        pages = [page for page in texts if runs_of(page) is table]
        for words, verdict in table.items():
            assert words == "*" or any(words in text for page in pages for text in texts[page]), f"{place}: {words!r}"
            if verdict.startswith("tests/"):
                test = (ROOT / verdict).read_text(encoding="utf-8")
                assert "run_by(__file__)" in test or all(f'"{page}"' in test for page in pages), f"{place}: {verdict}"
        entries = [verdict for block in SCRIPTS if block.of in pages for verdict in verdicts(block)]
        assert set(entries) == set(table.values()), f"{place}: an entry that no block has"


def test_a_page_has_a_table_of_its_own_only_where_its_folder_says_otherwise():
    for place, table in runs().items():
        assert place.endswith("/") or table != runs().get(place.rpartition("/")[0] + "/"), place


def parse(words: list[str]) -> None:
    """By the command line's own parser, which knows options, their values and what must be there."""
    command: click.Command = cli
    context = click.Context(cli, info_name="xgbpatch")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        subcommand = command.get_command(context, words[0])
        assert subcommand is not None, f"no command {words[0]!r}"
        command, words = subcommand, words[1:]
    if words not in (["--help"], ["--version"]):
        command.make_context(command.name, list(words), resilient_parsing=False, parent=context)


def check_script(words: list[str]) -> None:
    path = ROOT / words[0]
    assert path.is_file(), words[0]
    text = path.read_text(encoding="utf-8")
    for option in (word for word in words[1:] if word.startswith("--") and word != "--"):
        assert option in text or option.removeprefix("--") in text, f"{words[0]} has no {option}"


def check_aws(words: list[str]) -> None:
    service, operation = words[:2]
    if (service, operation) in OF_THE_CLI_ALONE:
        return
    model = botocore.session.get_session().get_service_model(service)
    (name,) = (each for each in model.operation_names if xform_name(each, "-") == operation)
    known = {xform_name(member, "-") for member in model.operation_model(name).input_shape.members}
    for option in (word[2:] for word in words[2:] if word.startswith("--")):
        assert option in known | OPTIONS_OF_AWS, f"aws {service} {operation} has no --{option}"


def check_files(words: list[str]) -> None:
    """Files of the project that a program gets are there."""
    for word in words[1:]:
        if re.match(r"(scripts|examples|tests|xgbpatch)/[\w./-]+$", word):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("block", SCRIPTS, ids=ids)
def test_every_block_is_sound_shell(block):
    text = re.sub(r"<[\w ]+>", "PLACEHOLDER", block.script)
    completed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")


def test_what_is_checked_would_be_noticed():
    wrong = (
        "xgbpatch bulid", "xgbpatch build --versoin 3.2-0", "xgbpatch build --builder none", "scripts/nothing",
        "scripts/load --nothing", "aws sagemaker create-model --nothing 1", "no-such-program",
        "python tests/nothing.py",
    )  # fmt: skip
    for line in wrong:
        block = Block(ROOT / "README.md", 1, "bash", f"x=$({line}) && true # comment's end\n")
        with pytest.raises((AssertionError, click.ClickException)):
            test_every_command_of_a_block_is_one_that_there_is(block)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("a=$(b c) && d 'e f' | g # h's\ni", [["b", "c"], ["d", "e f"], ["g"], ["i"]], id="joined"),
        pytest.param("cat >x <<'END'\nno command\nEND\na \\\n  b 2>&1", [["cat"], ["a", "b"]], id="redirected"),
        pytest.param("timeout 9 sh -c 'until a; do b 1; done'", [["a"], ["b", "1"]], id="wrapped"),
        pytest.param("A=1 B=2 a --b='c d'", [["a", "--b=c d"]], id="assigned"),
    ],
)
def test_commands_of_a_script(script, expected):
    assert list(commands(script)) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_extra_that_a_page_names_is_one(page):
    for names in re.findall(r"(?:xgbpatch|\.)\[([\w,-]+)\]", page.read_text(encoding="utf-8")):
        assert set(names.split(",")) <= set(EXTRAS), names


@pytest.mark.parametrize("block", PYTHON, ids=ids)
def test_python_is_sound_and_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "xgbpatch":
            module = import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), ast.unparse(node)


RUN_BY = {  # words of a program that neither prints nor calls AWS: the test that runs it
    "Engine.connect()": "tests/e2e/pipeline/test_pipeline.py",
    "RegistryBuilder(": "tests/e2e/pipeline/test_pipeline.py",
    "report.make(": "tests/e2e/test_pages_run.py",
    "files.explain(": "tests/e2e/test_pages_run.py",
    "pickle.load(": "tests/e2e/test_pages_run.py",
    "def profit(": "tests/e2e/test_pages_in_ecr.py",
    "artifacts.write(": "tests/overlays/test_training_files.py",
    "def model_fn(": "tests/overlays/test_script_mode.py",
}


@pytest.mark.parametrize("block", PYTHON, ids=ids)
def test_a_program_is_run_by_a_test(block):
    following = block.page.read_text(encoding="utf-8").partition(block.text)[2]
    if "boto3.client" not in block.text and not following.startswith("```\n\nprints\n"):
        ((words, test),) = ((words, test) for words, test in RUN_BY.items() if words in block.text)
        text = (ROOT / test).read_text(encoding="utf-8")
        assert block.page.name in text or words.rstrip("(") in text


EXAMPLES = [page for page in PAGES if re.search(r"```\n\nprints\n\n```text\n", page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_an_example_prints_what_its_page_says(page, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # some call `xgbpatch`
    matches = re.findall(
        r"```python\n((?:(?!```).)*)```\n\nprints\n\n```text\n(.*?)```", page.read_text(encoding="utf-8"), re.S
    )
    for code, printed in matches:
        exec(compile(code, str(page), "exec"), {})
        assert capsys.readouterr().out == printed
    assert matches


@pytest.mark.parametrize("block", [block for block in PYTHON if "boto3.client" in block.text], ids=ids)
def test_requests_to_aws_keep_to_its_service_models(block, monkeypatch):
    """Every call is made with parameters that botocore's model of the service takes; none is sent."""
    calls = []

    def answered(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        shape = client.meta.service_model.operation_model(operation).input_shape
        problems = botocore.validate.validate_parameters(parameters, shape)
        calls.append(operation)
        state = {"EndpointStatus": "InService", "TransformJobStatus": "Completed"}
        return {**state, "Body": Answer()} if problems is None else problems

    for name, value in {
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answered)
    exec(compile(block.text, block.name, "exec"), {})
    assert calls


class Answer:
    """The body of an answer of an endpoint."""

    def read(self) -> bytes:
        return json.dumps({"predictions": [{"score": 9.4}]}).encode()


@pytest.mark.parametrize("block", blocks("json"), ids=ids)
def test_json_is_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("toml"), ids=ids)
def test_settings_are_read_by_xgbpatch(block, tmp_path):
    for source in re.findall(r'source = "([^"]+)"', block.text):
        (tmp_path / source).parent.mkdir(exist_ok=True)
        (tmp_path / source).write_text("")
    path = tmp_path / "xgbpatch.toml"
    path.write_text(block.text.replace('"…"', f'"{"0" * 64}"'), encoding="utf-8")
    assert read_toml(path).images
