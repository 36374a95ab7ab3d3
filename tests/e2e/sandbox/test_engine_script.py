"""scripts/engine leaves an engine that answers alone, starts one where none does, and explains what stops it.

A second dockerd runs in a network namespace of its own: on the host's it would take the first one's bridge away.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "engine"


@dataclass(frozen=True)
class Site:
    """Where a second dockerd keeps its things. Short paths: a socket's has at most 107 bytes."""

    root: Path

    @property
    def socket(self):
        return f"unix://{self.root}/s"

    @property
    def arguments(self):
        return [
            "--", "--host", self.socket, "--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec",
            "--pidfile", f"{self.root}/pid",
        ]  # fmt: skip

    def run(self, *arguments, **more):
        variables = {**os.environ, "DOCKER_HOST": self.socket, "ENGINE_LOG": f"{self.root}/log", **more}
        return subprocess.run(
            ["unshare", "--net", SCRIPT, *arguments], env=variables, capture_output=True, text=True, check=False
        )

    def pid(self):
        return int((self.root / "pid").read_text())


@pytest.fixture
def site():
    with tempfile.TemporaryDirectory(prefix="engine") as directory:
        new_site = Site(Path(directory))
        yield new_site
        with suppress(FileNotFoundError):
            _end(new_site.pid())
        # a dockerd that failed leaves its data root mounted on itself
        subprocess.run(["umount", new_site.root / "data"], capture_output=True, check=False)


def _end(pid):
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 300
    while Path(f"/proc/{pid}/exe").exists():
        assert time.monotonic() < end, f"dockerd {pid} does not end"
        time.sleep(0.1)


def test_engine_that_answers_is_used():
    completed = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert completed.returncode == 0
    assert completed.stdout.startswith("Docker Engine ")
    assert completed.stderr == ""


def test_dockerd_is_started_once(site):
    first = site.run(*site.arguments)
    assert first.returncode == 0, first.stderr
    assert "starting dockerd" in first.stderr
    pid = site.pid()
    second = site.run(*site.arguments)
    assert (second.stdout, second.stderr, site.pid()) == (first.stdout, "", pid)
    assert os.getsid(pid) != os.getsid(0)  # it outlives this shell


def test_pid_file_of_a_killed_dockerd_does_not_stop_the_next(site):
    left = site.root / "docker.pid"
    left.write_text(str(os.getpid()))  # a living process, but no dockerd
    completed = site.run(*site.arguments, ENGINE_RUN=str(site.root))
    assert completed.returncode == 0, completed.stderr
    assert f"removing {left}, left by a process that was killed" in completed.stderr
    assert not left.exists()


# /sys shows the network namespace that it was mounted in; here it is the script's own.
OWN_NETWORK = ("unshare", "--net", "--mount", "bash", "-c", """
set -e
mkdir "$0/sys" && mount -t sysfs sysfs "$0/sys"
for part in class/net devices/virtual/net; do mount --bind "$0/sys/$part" "/sys/$part"; done
ip link add docker0 type bridge && cat /sys/class/net/docker0/addr_assign_type
"$@" && cat /sys/class/net/docker0/addr_assign_type
""")  # fmt: skip


def test_bridge_found_without_an_address_of_its_own_gets_one(site):
    variables = {**os.environ, "DOCKER_HOST": site.socket, "ENGINE_LOG": f"{site.root}/log"}
    command = [*OWN_NETWORK, site.root, SCRIPT, *site.arguments]
    completed = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    assert "giving docker0 an address of its own" in completed.stderr
    lent, version, descriptors = completed.stdout.splitlines()
    assert (lent, descriptors) == ("1", "3")
    assert version.startswith("Docker Engine ")


def test_dockerd_that_fails_shows_its_last_words(site):
    completed = site.run(*site.arguments, "--storage-driver", "nonsense")
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert "failed to start daemon" in completed.stderr
    assert "--storage-driver vfs" in completed.stderr


def test_dockerd_that_never_answers_is_ended(site):
    silent = [argument.replace(site.socket, f"unix://{site.root}/other") for argument in site.arguments]
    begun = time.monotonic()
    completed = subprocess.run(
        ["unshare", "--net", SCRIPT, *silent], capture_output=True, text=True, check=False,
        env={**os.environ, "DOCKER_HOST": site.socket, "ENGINE_LOG": f"{site.root}/log", "ENGINE_SECONDS": "3"},
    )  # fmt: skip
    assert completed.returncode == 1
    assert time.monotonic() - begun < 30
    assert f"{site.root}/log" in completed.stderr


def test_docker_host_that_is_dead_is_named(site):
    completed = site.run()
    assert completed.returncode == 1
    assert site.socket in completed.stderr
    assert "unset DOCKER_HOST" in completed.stderr


def test_without_root_it_says_what_to_do(site):
    script = site.root / "engine"  # the checkout may lie below a folder of root's alone
    shutil.copy(SCRIPT, script)
    for path in (site.root, script):
        path.chmod(0o755)
    completed = subprocess.run(
        [script, *site.arguments], user=65534, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": site.socket, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert completed.returncode == 1
    assert "as root" in completed.stderr or "usermod" in completed.stderr


def test_help_has_examples():
    completed = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "Examples:" in completed.stdout
