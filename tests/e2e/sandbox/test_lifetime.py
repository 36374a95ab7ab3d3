"""A sandbox comes up as a whole or leaves no trace, whatever ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.documentation import run_by
from support.sandbox.regions import first_address
from support.sandbox.traces import CERTIFICATES, HOSTS, processes_naming, traces_of
from xgbpatch import sandbox
from xgbpatch.errors import ConfigurationError, ExtraMissingError, SandboxError
from xgbpatch.progress import Silent
from xgbpatch.sandbox import lifecycle

LAST_WORDS = "sandbox: up"


class InterruptedAtTheEnd(Silent):
    """Ctrl-C in the last step."""

    def line(self, text):
        if text.startswith(LAST_WORDS):
            raise KeyboardInterrupt


def no_trace_of(options):
    return not options.state.exists() and not processes_naming(str(options.state))


@pytest.mark.usefixtures("nothing_left")
def test_down_leaves_no_trace(options):
    state = sandbox.up(options, Silent())
    assert sandbox.status(options).healthy
    assert len(processes_naming(str(options.state))) == 3  # one for each registry, and AWS
    assert sandbox.down(options)
    assert no_trace_of(options)
    assert not processes_naming(state.endpoint.rpartition(":")[2])
    assert sandbox.status(options) is None
    assert not sandbox.down(options)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("page", ["docs/sandbox.md", "docs/tutorial.md"])
def test_a_page_s_commands_make_a_sandbox_and_remove_it(options, tmp_path, page):
    """Beside others on this machine, and without bases."""
    own = {
        "up": f"--no-bases --region {options.regions[0]} --account {options.account} --address {options.first_address}"
    }
    script = "".join(block.script for block in run_by(__file__, page))
    for verb in ("up", "env", "status", "down"):
        script = re.sub(rf"sandbox {verb}\b", rf"\g<0> --state {options.state} {own.get(verb, '')}", script)
    assert script.count("--state") >= 3
    (tmp_path / "abalone").mkdir()  # the tutorial's files
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    completed = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env={**os.environ, "PATH": programs}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert no_trace_of(options)


def test_second_up_changes_nothing(running, options_of_running):
    assert sandbox.up(options_of_running, Silent()) == running


def test_up_with_other_regions_is_refused_while_it_runs(running, options_of_running):
    regions = (*options_of_running.regions, "ap-northeast-3")
    with pytest.raises(SandboxError, match="other regions") as raised:
        sandbox.up(replace(options_of_running, regions=regions), Silent())
    assert "sandbox down" in raised.value.next_step
    assert sandbox.status(options_of_running).state == running
    assert sandbox.status(options_of_running).healthy


def test_up_mends_a_sandbox_with_a_dead_registry(options):
    first = sandbox.up(options, Silent())
    os.kill(first.processes[0].pid, signal.SIGKILL)
    os.waitpid(first.processes[0].pid, 0)
    assert not sandbox.status(options).healthy
    second = sandbox.up(options, Silent())
    assert sandbox.status(options).healthy
    assert not {one.pid for one in first.processes} & {one.pid for one in second.processes}


@pytest.mark.usefixtures("nothing_left")
def test_interrupted_up_leaves_no_trace(options):
    with pytest.raises(KeyboardInterrupt):
        sandbox.up(options, InterruptedAtTheEnd())
    assert no_trace_of(options)


@pytest.mark.usefixtures("nothing_left")
def test_down_removes_what_a_killed_up_left(options):
    program = f"""
import os, signal
from pathlib import Path
from xgbpatch import sandbox
from xgbpatch.progress import Silent
class Killed(Silent):
    def line(self, text):
        if text.startswith({LAST_WORDS!r}):
            os.kill(os.getpid(), signal.SIGKILL)
sandbox.up(sandbox.SandboxOptions(account={options.account!r}, regions={options.regions!r}, versions=(),
    first_address={options.first_address!r}, state=Path({str(options.state)!r})), Killed())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert processes_naming(str(options.state))
    assert str(options.state) in HOSTS.read_text()
    assert sandbox.down(options)
    assert no_trace_of(options)


@pytest.mark.usefixtures("nothing_left")
def test_taken_port_is_named_and_nothing_is_left(options):
    address = options.address(1)
    with socket.create_server((address, 443)), pytest.raises(SandboxError, match=f'port 443 of "{address}"') as raised:
        sandbox.up(options, Silent())
    assert "ss -ltnp" in raised.value.next_step
    assert no_trace_of(options)


def test_authority_of_somebody_else_is_not_overwritten(options):
    theirs = CERTIFICATES / f"{options.account}.dkr.ecr.{options.regions[0]}.amazonaws.com" / "ca.crt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")
    before = traces_of(options)
    try:
        with pytest.raises(SandboxError, match=str(theirs)):
            sandbox.up(options, Silent())
        assert theirs.read_text() == "precious"
        assert traces_of(options) == before
        assert no_trace_of(options)
    finally:
        theirs.unlink()
        theirs.parent.rmdir()


@pytest.mark.usefixtures("nothing_left")
def test_names_of_another_sandbox_are_refused_and_its_owner_is_named(running, options_of_running, options, tmp_path):
    second = replace(options_of_running, state=tmp_path / "second", first_address=options.first_address)
    with pytest.raises(SandboxError, match=f'sandbox in "{running.directory}"') as raised:
        sandbox.up(second, Silent())
    assert f"sandbox down --state {running.directory}" in raised.value.next_step
    assert no_trace_of(second)
    assert sandbox.status(options_of_running).healthy


PROGRAM_UP_AND_DOWN = """
import sys
from pathlib import Path
from xgbpatch import sandbox
from xgbpatch.progress import Silent
region, address, state = sys.argv[1:]
options = sandbox.SandboxOptions(regions=(region,), versions=(), first_address=address, state=Path(state))
try:
    for _ in range(2):
        sandbox.up(options, Silent())
        assert sandbox.status(options).healthy
        sandbox.down(options)
finally:
    sandbox.down(options)
"""


@pytest.mark.usefixtures("nothing_left")
def test_sandboxes_that_come_and_go_at_once_do_not_disturb_each_other(options, regions, tmp_path):
    commands = [
        [sys.executable, "-c", PROGRAM_UP_AND_DOWN, region, first_address(region), str(tmp_path / region / "sandbox")]
        for region in (regions[0], regions[3])
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors


@pytest.mark.usefixtures("nothing_left")
def test_name_that_does_not_resolve_is_refused(options, tmp_path):
    other = tmp_path / "hosts"
    other.write_text("127.0.0.1 localhost\n")
    with pytest.raises(SandboxError, match="resolves to nothing"):
        sandbox.up(replace(options, hosts=other), Silent())
    assert other.read_text() == "127.0.0.1 localhost\n"
    assert no_trace_of(options)


@pytest.mark.usefixtures("nothing_left")
def test_up_without_root_says_so(options):
    program = f"""
import os, sys
from pathlib import Path
from xgbpatch import errors, catalogue
from xgbpatch.progress import Silent
from xgbpatch.sandbox import SandboxOptions, up
os.seteuid(65534)
try:
    up(SandboxOptions(state=Path({str(options.state)!r})), Silent())
except errors.SandboxError as error:
    sys.exit(f"{{error.message}} | {{error.next_step}}")
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "needs root" in completed.stderr
    assert "as root" in completed.stderr
    assert no_trace_of(options)


def test_missing_extra_is_named(options, monkeypatch):
    monkeypatch.setattr(lifecycle, "_EXTRA_MODULES", ("no_module_of_that_name",))
    with pytest.raises(ExtraMissingError, match='extra "sandbox"'):
        sandbox.up(options, Silent())


@pytest.mark.parametrize(
    "wrong",
    [{"account": "12"}, {"regions": ()}, {"first_address": "10.0.0.1"}, {"first_address": "localhost"}],
    ids=lambda wrong: next(iter(wrong.items())).__repr__(),
)
def test_options_that_cannot_be_are_refused(options, wrong):
    with pytest.raises(ConfigurationError, match="is no sandbox"):
        replace(options, **wrong)


def test_region_without_images_is_refused(options):
    with pytest.raises(ConfigurationError, match="us-nowhere-9"):
        sandbox.up(replace(options, regions=("us-nowhere-9",)), Silent())
    assert no_trace_of(options)
