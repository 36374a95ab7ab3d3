"""The hosts file gets a block and loses exactly that block."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.errors import SandboxError
from xgbpatch.hostnames import owners
from xgbpatch.sandbox import hosts
from xgbpatch.sandbox.state import RegistryHost

MARK, OTHER = Path("/state/one"), Path("/state/other")
REGISTRIES = (RegistryHost("a.example", "127.0.0.2", "1", "r"), RegistryHost("b.example", "127.0.0.3", "2", "r"))

free_text = st.text(alphabet=st.sampled_from("ab 1.#>\n\t\r\\"), max_size=60)


@given(free_text)
def test_removing_the_block_gives_the_text_back(text):
    assert hosts.remove_block(hosts.add_block(text, MARK, REGISTRIES), MARK) == text


@given(free_text)
def test_blocks_of_two_sandboxes_come_and_go_in_any_order(text):
    first = hosts.add_block(text, MARK, REGISTRIES)
    both = hosts.add_block(first, OTHER, REGISTRIES)
    assert hosts.remove_block(both, OTHER) == first
    assert hosts.remove_block(hosts.remove_block(both, MARK), OTHER) in (text, text + "\n")


@given(free_text, free_text.filter(bool))
def test_lines_that_others_add_after_the_block_stay(before, after):
    line = "" if not before or before.endswith("\n") else "\n"
    assert hosts.remove_block(hosts.add_block(before, MARK, REGISTRIES) + after, MARK) == before + line + after


def test_every_registry_has_a_line_that_the_resolver_reads():
    lines = hosts.add_block("127.0.0.1 localhost", MARK, REGISTRIES).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "127.0.0.1 localhost", "127.0.0.2 a.example", "127.0.0.3 b.example",
    ]  # fmt: skip


def test_block_without_its_end_is_refused_rather_than_cut():
    broken = hosts.add_block("x\n", MARK, REGISTRIES).replace("# <<<", "# gone") + "10.0.0.1 precious\n"
    with pytest.raises(SandboxError, match="without its end"):
        hosts.remove_block(broken, MARK)


def test_write_keeps_mode_and_undecodable_bytes(tmp_path):
    path = tmp_path / "hosts"
    path.write_bytes(b"127.0.0.1 caf\xe9\n")
    path.chmod(0o640)
    hosts.write(path, MARK, REGISTRIES)
    assert hosts.holds(path, MARK, REGISTRIES)
    assert path.stat().st_mode & 0o777 == 0o640
    hosts.write(path, MARK, ())
    assert path.read_bytes() == b"127.0.0.1 caf\xe9\n"
    assert os.listdir(tmp_path) == ["hosts"]


def test_hosts_file_that_is_a_mount_is_written_in_place(tmp_path):
    """A container's /etc/hosts is one."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        hosts.write(path, MARK, REGISTRIES)
        assert hosts.holds(path, MARK, REGISTRIES)
        hosts.write(path, MARK, ())
        assert path.read_text() == "127.0.0.1 localhost\n"
        assert os.listdir(tmp_path) == ["hosts"]
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_second_write_replaces_the_block(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("")
    hosts.write(path, MARK, REGISTRIES)
    hosts.write(path, MARK, REGISTRIES[:1])
    assert hosts.holds(path, MARK, REGISTRIES[:1])
    assert "b.example" not in path.read_text()


def test_hosts_file_that_is_not_there_names_itself(tmp_path):
    with pytest.raises(SandboxError, match=str(tmp_path / "none")):
        hosts.write(tmp_path / "none", MARK, REGISTRIES)


def test_a_change_shows_in_the_file_s_time(tmp_path):
    """Another sandbox's block is often as long, and dockerd would go on with the lines that it read before."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    os.utime(path, (1, 1))
    hosts.write(path, MARK, REGISTRIES)
    assert path.stat().st_mtime > 1


WRITER = """
import sys
from pathlib import Path
from xgbpatch.sandbox import hosts
from xgbpatch.sandbox.state import RegistryHost
path, mark = map(Path, sys.argv[1:])
registries = (RegistryHost(f"{mark.name}.example", "127.0.0.2", "1", "r"),)
for _ in range(50):
    hosts.write(path, mark, ())
    hosts.write(path, mark, registries)
    assert hosts.holds(path, mark, registries)
"""


@pytest.mark.parametrize("mounted", [False, True], ids=["file", "mount"])
def test_many_processes_change_the_file_at_once_and_each_line_stays(tmp_path, mounted):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    marks = [tmp_path / f"sandbox-{number}" for number in range(6)]
    if mounted:
        subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, mark]) for mark in marks]
        heads = set()
        while any(writer.poll() is None for writer in writers):
            heads.add(path.read_text()[:20])
        assert heads <= {"127.0.0.1 localhost\n"}
        assert [writer.returncode for writer in writers] == [0] * len(marks)
        lines = path.read_text().splitlines()
        assert sorted(line for line in lines if not line.startswith("#")) == sorted(
            ["127.0.0.1 localhost", *(f"127.0.0.2 {mark.name}.example" for mark in marks)]
        )
    finally:
        if mounted:
            subprocess.run(["umount", path], check=True)


def test_owner_of_a_name_is_the_sandbox_whose_block_has_it(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.9 b.example\n")
    hosts.write(path, OTHER, REGISTRIES[:1])
    hosts.write(path, MARK, REGISTRIES[1:])
    assert owners(path) == {"a.example": str(OTHER), "b.example": str(MARK)}
    assert owners(tmp_path / "none") == {}
