"""Paths that a command is to write: what cannot be written is refused before the work, with every other OSError a
sentence. All of it fails for root too, whom permissions do not stop."""

from __future__ import annotations

import errno
import os
import resource

import click
import pytest

from support.commands import in_process
from xgbpatch import cli
from xgbpatch.commands import _options, ci, init
from xgbpatch.commands._options import OutputFile, OutputFolder
from xgbpatch.errors import ConfigurationError, FileError
from xgbpatch.registry.http import RetryPolicy

BUILD = ("build", "--version", "3.2-0", "--region", "us-west-2")
REBUILD = ("rebuild", "--version", "3.2-0", "--region", "us-west-2")
IMAGE = "registry.example.com/xgboost:1"
# What is read, and not written.
READ = {
    "--config",
    "source",
    "explanations",
    "--data",
    "--labels",
    "--names",
    "--compare",
    "--model",
}
MADE_AND_REMOVED = {"--state"}  # `sandbox up` makes it as its first step, and `down` takes it away


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """`run(*arguments)`: the exit code and stderr of the command line. No engine answers: work would exit with 3."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code, _, stderr = in_process(capsys, *arguments)
        return code, stderr

    return call


def unwritable(tmp_path, kind):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "into-proc").symlink_to("/proc/xgbpatch")
    return {
        "below a file": tmp_path / "file" / "below",
        "two folders below a file": tmp_path / "file" / "below" / "it",
        "in /proc": "/proc/xgbpatch",
        "name too long": tmp_path / ("x" * 300),
        "a link to itself": tmp_path / "loop",
        "a link to what cannot be": tmp_path / "into-proc",
        "a folder": tmp_path,
        "a file": tmp_path / "file",
    }[kind]


KINDS = ["below a file", "two folders below a file", "in /proc", "name too long", "a link to itself"]


@pytest.mark.parametrize("kind", [*KINDS, "a link to what cannot be", "a folder"])
@pytest.mark.parametrize("command", [(*BUILD, "--sbom"), ("test-local", "--junit")], ids=lambda part: part[-1])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, command, kind):
    path = unwritable(tmp_path, kind)
    before = sorted(os.listdir(tmp_path))
    code, stderr = run(*command, path)
    assert (code, "Traceback" in stderr) == (ConfigurationError.exit_code, False)
    assert command[-1] in stderr
    assert str(path) in stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", [*KINDS, "a file"])
@pytest.mark.parametrize(
    "command",
    [("test-local", "--logs"), (*REBUILD, "--logs"), ("promote", IMAGE, "--alias", "prod", "--logs"),
     ("rebase", IMAGE, "--logs")],
    ids=lambda part: part[0],
)  # fmt: skip
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(run, tmp_path, command, kind):
    path = unwritable(tmp_path, kind)
    code, stderr = run(*command, path)
    assert (code, "Traceback" in stderr) == (ConfigurationError.exit_code, False)
    assert "--logs" in stderr
    assert str(path) in stderr


@pytest.mark.parametrize("name", ["report.xml", "new/folders/report.xml", "there.xml", "link.xml", "dangling.xml"])
def test_a_file_that_can_be_written_is_let_through_and_not_touched(run, tmp_path, name):
    (tmp_path / "there.xml").write_text("mine")
    (tmp_path / "link.xml").symlink_to("there.xml")
    (tmp_path / "dangling.xml").symlink_to("nothing.xml")
    before = sorted(os.listdir(tmp_path))
    code, stderr = run("test-local", "--junit", name, "--logs", "new/logs")
    assert code == 3, stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "there.xml").read_text() == "mine"


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stderr"])
def test_a_device_is_a_file_to_write(run, path):
    code, stderr = run("test-local", "--junit", path)
    assert code == 3, stderr


def test_a_pipe_that_nobody_reads_yet_is_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert run("test-local", "--junit", "pipe")[0] == 3


def test_the_folder_of_an_sbom_must_be_there(run, tmp_path):
    code, stderr = run(*BUILD, "--sbom", "no/such/folder.json")
    assert code == ConfigurationError.exit_code
    assert "Make it first." in stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [("test-local",), ("promote", "127.0.0.1:1/x:1", "--alias", "prod"), ("rebase", "127.0.0.1:1/x:1"), REBUILD],
    ids=lambda command: command[0],
)
def test_a_default_folder_of_logs_that_cannot_be_made_is_said_before_the_work(run, monkeypatch, tmp_path, command):
    """It is needed where a check fails, and a working folder that is read-only (a Lambda's) is no reason to stop."""
    monkeypatch.setattr(RetryPolicy, "wait", lambda policy, pause=None: False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    (tmp_path / "xgbpatch-logs").write_text("a file")
    code, stderr = run(*command)
    assert code not in (0, 1, 2)
    warning = 'warning: the logs of failed checks cannot be kept in "xgbpatch-logs": "'
    assert stderr.startswith(warning)
    assert "--logs names another folder" in stderr


def test_a_working_folder_that_can_be_written_is_not_spoken_of(run):
    assert "warning" not in run("test-local")[1]


@pytest.mark.parametrize("command", [BUILD, ("usage",), ("init",)], ids=lambda command: command[0])
def test_a_working_folder_that_was_deleted_is_named(run, tmp_path, monkeypatch, command):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    code, stderr = run(*command)
    monkeypatch.chdir(tmp_path)
    assert (code, stderr) == (
        FileError.exit_code,
        "xgbpatch: the working folder is not there any more\n  cd to a folder that is there.\n",
    )


def test_every_option_that_names_a_path_to_write_is_checked():
    unchecked = {
        option.opts[0]
        for command in commands(cli.cli)
        for option in command.params
        if isinstance(option.type, (click.Path, click.File))
        and not isinstance(option.type, (OutputFile, OutputFolder))
        and not getattr(option.type, "exists", False)
    }
    assert unchecked == READ | MADE_AND_REMOVED


def commands(command):
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from commands(command.get_command(click.Context(command), name))


def test_a_disk_that_is_full_at_the_end_names_option_path_and_reason():
    with pytest.raises(FileError, match='cannot write --junit "/dev/full": No space left on device'):
        _options.write("--junit", _options.Path("/dev/full"), b"<testsuites/>")


@pytest.mark.parametrize("name", ["old.html", "new.html"])
def test_a_disk_that_is_full_at_the_end_leaves_what_was_there(tmp_path, name):
    (tmp_path / "old.html").write_bytes(b"the page of yesterday")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FileError, match=f'cannot write --output ".*{name}"'):
            _options.write("--output", tmp_path / name, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["old.html"]
    assert (tmp_path / "old.html").read_bytes() == b"the page of yesterday"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link.html").symlink_to("page.html")
    _options.write("--output", tmp_path / "link.html", b"a page")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_bytes() == b"a page"


@pytest.mark.parametrize(
    "words",
    [("report", "x", "--output", ""), ("explain", "m", "x", "--output", ""),
     ("explain", "", "x", "--output", "out"), ("explain", "m", "", "--output", "out")],
)  # fmt: skip
def test_an_empty_path_is_not_the_working_folder(run, words):
    code, stderr = run(*words)
    assert (code, "it is empty" in stderr) == (2, True)


@pytest.mark.parametrize("force", [False, True])
def test_init_where_a_folder_has_the_file_s_name(tmp_path, force):
    (tmp_path / "xgbpatch.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r'cannot write ".*xgbpatch.toml": Is a directory'):
        init.write(tmp_path / "xgbpatch.toml", force)


def test_init_in_a_folder_that_takes_no_files(run, monkeypatch):
    monkeypatch.chdir("/proc")
    code, stderr = run("init")
    assert (code, stderr.count("\n")) == (2, 1)
    assert '"/proc/xgbpatch.toml"' in stderr


def test_ci_init_where_a_folder_has_the_file_s_name(run, tmp_path):
    (tmp_path / ".gitlab-ci.yml").mkdir()
    code, stderr = run("ci", "init", "gitlab", "--requirement", "xgbpatch")
    assert (code, "Is a directory" in stderr) == (2, True)
    with pytest.raises(ConfigurationError, match="cannot write"):
        ci.write(tmp_path / ".gitlab-ci.yml", "", force=True)


def test_a_sandbox_s_state_below_a_file_is_a_sentence(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, stderr = run("sandbox", "down", "--state", tmp_path / "file" / "below" / "state")
    assert code == FileError.exit_code
    assert stderr == f'xgbpatch: the system refused "{tmp_path}/file/below": Not a directory\n'


def failing(monkeypatch, error):
    @click.command("fail")
    def fail():
        raise error

    monkeypatch.setattr(cli, "COMMANDS", ("fail",))
    monkeypatch.setattr(cli._LazyGroup, "get_command", lambda group, context, name: fail)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            'the system refused "/a/b": No space left on device',
        ),
        (OSError(errno.EXDEV, "Invalid link", "/a", None, "/b"), 'the system refused "/a" and "/b": Invalid link'),
        (OSError(errno.EMFILE, "Too many open files"), "the system refused: Too many open files"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "the system refused: Broken pipe"),  # an engine's, say
        (OSError("in its own words"), "the system refused: in its own words"),
        (TimeoutError(), "the system refused: TimeoutError"),
    ],
    ids=["a path", "two paths", "no path", "a pipe that is not ours", "words", "nothing"],
)
def test_what_the_system_refuses_is_a_sentence_with_an_exit_code(run, monkeypatch, error, says):
    failing(monkeypatch, error)
    assert run("fail") == (FileError.exit_code, f"xgbpatch: {says}\n")


def test_an_unexpected_exception_keeps_its_traceback(run, monkeypatch):
    failing(monkeypatch, ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        run("fail")
