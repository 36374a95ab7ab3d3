from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from xgbpatch.commands import _options
from xgbpatch.config.settings import KEYS, Flags
from xgbpatch.spec import Spec


@click.command()
@_options.image_options
@_options.json_option
@_options.quiet_option
def command(selection, as_json, quiet):
    click.echo(repr((selection.flags, as_json, quiet)))


def seen(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_no_option_leaves_everything_to_the_other_places():
    assert seen() == repr((Flags(), False, False))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--version", "1.5-1", "--json", "-q"], (Flags(version="1.5-1"), True, True), id="single"),
        pytest.param(
            ["--feature", "a,b", "--feature", "c"], (Flags(features=("a,b", "c")), False, False), id="repeated"
        ),
        pytest.param(["--arch", "arm64"], (Flags(architecture="arm64"), False, False), id="renamed"),
        pytest.param(
            ["--platform", "linux/arm64"], (Flags(architecture="arm64"), False, False), id="as docker says it"
        ),
        pytest.param(
            ["--image", "x", "--env", "A=1"], (Flags(images=("x",), environment=("A=1",)), False, False), id="x"
        ),
        pytest.param(["--tag-pattern", "{spec}"], (Flags(tag="{spec}"), False, False), id="pattern"),
    ],
)
def test_options_become_flags(arguments, expected):
    assert seen(*arguments) == repr(expected)


def test_every_setting_but_replace_has_an_option():
    options = {parameter.name for parameter in command.params}
    assert set(KEYS) - {"replace"} <= options


@pytest.mark.parametrize("parameter", command.params, ids=lambda parameter: parameter.name)
def test_every_option_is_explained(parameter):
    assert parameter.help


def test_a_selection_reads_the_environment_and_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "xgbpatch.toml").write_text('version = "1.5-1"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XGBPATCH_REGION", "eu-west-1")
    assert _options.Selection(Flags()).specs() == (Spec("1.5-1", "eu-west-1"),)
    assert _options.Selection(Flags()).region() == "eu-west-1"
