"""What is collected, and how workers share it. Fixtures stand in support/fixtures.py and support/engine_fixtures.py."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from support import groups
from support.bases import versions

# The tests start hundreds of Python processes, and each would compile all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A docker-registry of a few megabytes spends half of its time on collecting garbage.
os.environ.setdefault("GOGC", "1000")
# Mostly it has one client: on two processors it took a sixth more time than on one.
os.environ.setdefault("GOMAXPROCS", "1")
# Nor is there much to collect in a worker that only begins to hold four thousand tests.
gc.set_threshold(20_000, 20, 20)
# xgboost's threads spin while they wait for each other, and on a busy machine they wait for long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# xgboost imports scikit-learn where that is installed (the group "notebook" brings it), which imports scipy.stats and
# pandas: 1.5 s of processor time in every worker. No test here has a use for it.
sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]

# By default hypothesis fails an example of 200 ms, or examples that it is slow to draw: a busy machine does that.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")

pytest_plugins = ["support.fixtures"]

TESTS = Path(__file__).parent
NEED_ENGINE = ("engine", "standin", "e2e/sandbox", "e2e/pipeline")
LONG_FIRST = ("e2e/pipeline/test_upkeep.py", "e2e/pipeline", "engine/contract", "engine/test_push_command.py",
              "e2e/sandbox", "standin", "engine", "registry", "e2e", "unit")  # fmt: skip
ON_THE_SAME_SERVERS = {  # or with programs in the same container, or that read the same layers
    "servers": ("tests/engine/test_differential.py", "tests/engine/test_fixes.py", "tests/engine/test_load.py"),
    "layers": ("tests/engine/test_builders.py", "tests/engine/test_remote_inspection.py"),
    "stand-in": ("tests/standin/",),
}
IN_ONE_SANDBOX = {  # or with the same names of images, which the documentation gives them
    "sandbox": ("tests/e2e/sandbox/",),
    "pages": ("tests/e2e/pipeline/test_how_to.py", "tests/e2e/pipeline/test_pipeline.py"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        action="store_true",
        help="also run what needs a Docker Engine; without an engine these tests fail, and none is skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    """A job in the background ignores SIGINT, and what it starts would too: the tests send it to programs."""
    config.addinivalue_line("markers", "group(name): needs that dependency group; support/groups.py")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("engine"):
        config.pluginmanager.import_plugin("support.engine_fixtures")
        config.pluginmanager.import_plugin("support.ping_waits")
    elif named := [argument for argument in config.args if _needs_engine(Path(argument.partition("::")[0]).resolve())]:
        raise pytest.UsageError(f"{named[0]} needs a Docker Engine: add --engine")


def _needs_engine(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / folder) for folder in NEED_ENGINE)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [] if config.get_verbosity() < 0 else _left_out(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """`-q` shows no header."""
    for line in _left_out(config) if config.get_verbosity() < 0 else []:
        terminalreporter.write_line(line)


def _left_out(config: pytest.Config) -> list[str]:
    lines = ["left out: tests/overlays, tests/standin/test_known_bugs_*.py: scripts/overlay-tests runs them"]
    if not config.getoption("engine"):
        folders = ", ".join(f"tests/{folder}" for folder in NEED_ENGINE)
        lines.append(f"left out: {folders}: need a Docker Engine; --engine runs them")
    for group, package in groups.left_out().items():
        lines.append(
            f'left out: tests marked group("{group}"): {package} is missing; scripts/setup installs that group'
        )
    return lines


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = _needs_engine(collection_path) and not config.getoption("engine")
    return True if left_out or collection_path == TESTS / "overlays" else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `version` runs once for each base under test."""
    if "version" in metafunc.fixturenames and not _parametrized(metafunc, "version"):
        metafunc.parametrize("version", versions(), scope="session")


def _parametrized(metafunc: pytest.Metafunc, name: str) -> bool:
    names = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    return any(name in (text.replace(" ", "").split(",") if isinstance(text, str) else text) for text in names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no worker is left with it at the end."""
    absent = groups.left_out()
    without = [item for item in items if (mark := item.get_closest_marker("group")) and mark.args[0] in absent]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
    items.sort(key=lambda item: _position(item.path))


@cache
def _position(path: Path) -> int:
    return next(number for number, folder in enumerate((*LONG_FIRST, ".")) if path.is_relative_to(TESTS / folder))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto` (addopts): a worker a core, or none where files are named, which are quicker than workers start."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """With `-n`: the tests of a file on one base go to one worker, which shares what is dear to make."""
    config.option.loadscopereorder = False  # see LONG_FIRST
    return ByFileAndBase(config, log)


class ByFileAndBase(LoadScopeScheduling):
    """The tests of a file on one base are a group, and those that share servers or a sandbox, whatever their file."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", maxsplit=1)[0]
        for name, paths in IN_ONE_SANDBOX.items():
            if path.startswith(paths):
                return name
        name = next((name for name, paths in ON_THE_SAME_SERVERS.items() if path.startswith(paths)), path)
        of_version = (each for each in versions() if f"[{each}" in nodeid or nodeid.endswith(f"-{each}]"))
        return " ".join([name, *of_version])
