"""What this machine has and lacks for xgbpatch: each check looks at one thing and says how to mend it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch.errors import AwsError, ConfigurationError, XgbpatchError

if TYPE_CHECKING:
    from xgbpatch.engine.types import EngineInformation, OwnedContainer
    from xgbpatch.sandbox import SandboxOptions

NEEDED_BYTES = 6 * 10**9  # a base of 3 to 4 GB, a patched image and the context
SKEW_LIMIT_SECONDS = 300  # AWS refuses a signature that is 5 minutes off
_SKEW_WARNING_SECONDS = 60
_ANY_REGION = "us-east-1"
_BRIDGE = Path("/sys/class/net/docker0")
_NET_ADDR_SET = "3"  # linux/netdevice.h: somebody chose the address
_START = "Start Docker (https://docs.docker.com/engine/install); in a checkout on Debian, scripts/engine does both."


class Level(Enum):
    """How much a finding matters: `MISSING` stops a command, `WARNING` may."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was seen, and how to mend it (empty when there is nothing to mend)."""

    name: str
    level: Level
    summary: str
    fix: str = ""


def examine(region: str = "") -> Iterator[Finding]:
    """Every finding, as it is made. `region` is the one asked for; else the configured one counts. Never raises."""
    from xgbpatch.engine.client import Engine

    try:
        with Engine.connect() as engine:
            about = engine.information()
            yield judge_engine(about)
            yield check_disk(about.root)
            yield check_bridge()
            yield judge_containers(engine.containers())
    except XgbpatchError as error:
        yield Finding("engine", Level.MISSING, error.message, _START)
    chosen, finding = find_region(region)
    yield finding
    yield check_credentials(chosen or _ANY_REGION)
    yield check_clock(chosen or _ANY_REGION)
    yield check_uv()
    yield from check_sandboxes()


def judge_engine(about: EngineInformation) -> Finding:
    """Official images are linux/amd64 (linux/arm64 for Graviton inference)."""
    summary = f"Docker Engine {about.version}, {about.architecture}"
    if about.architecture in ("x86_64", "amd64"):
        return Finding("engine", Level.OK, summary)
    return Finding(
        "engine", Level.WARNING, summary, "linux/amd64 images need emulation here (binfmt), or --arch arm64."
    )


def judge_disk(free: int, root: Path) -> Finding:
    """`free` is in bytes, on the file system of the engine's `root`."""
    summary = f"{free / 1e9:.1f} GB free at {root}"
    if free >= NEEDED_BYTES:
        return Finding("disk", Level.OK, summary)
    return Finding(
        "disk",
        Level.MISSING,
        summary,
        f"{NEEDED_BYTES / 1e9:.0f} GB are needed: docker system df shows what takes room.",
    )


def judge_clock(seconds: float, endpoint: str) -> Finding:
    """`seconds` is how far this machine is ahead of AWS (negative: behind)."""
    summary = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {endpoint}"
    fix = "Set this machine's clock (timedatectl set-ntp true): AWS refuses signatures that are 5 minutes off."
    if abs(seconds) < _SKEW_WARNING_SECONDS:
        return Finding("clock", Level.OK, summary)
    return Finding("clock", Level.MISSING if abs(seconds) >= SKEW_LIMIT_SECONDS else Level.WARNING, summary, fix)


def judge_containers(containers: Sequence[OwnedContainer]) -> Finding:
    """Containers that xgbpatch processes started. Only those whose process cannot be judged from here are left to a
    person: a run at work needs its own, and what a run that has ended left the next command removes."""
    from xgbpatch.engine.ownership import Life

    running = [one for one in containers if one.life is Life.RUNNING]
    unknown = [one for one in containers if one.life is Life.UNKNOWN]
    owners = ", ".join(dict.fromkeys(one.owner for one in running))
    counts = [f"{len(running)} of a run at work ({owners})"] if running else []
    if not unknown:
        return Finding("containers", Level.OK, "; ".join(counts) or "none left over")
    listed = ", ".join(f"{one.id[:12]} ({one.owner}, since {one.created[:16]})" for one in unknown)
    return Finding(
        "containers",
        Level.WARNING,
        "; ".join([*counts, f"{len(unknown)} that may still be needed: {listed}"]),
        "Their processes cannot be seen from here: they belong to another container, machine or boot, to an older"
        " xgbpatch, or this system has no /proc. Where that xgbpatch no longer runs: docker rm -f -v "
        + " ".join(one.id[:12] for one in unknown),
    )


def check_disk(root: Path) -> Finding:
    """Room at the engine's root, where that directory is on this machine."""
    if not root.exists():
        return Finding("disk", Level.WARNING, f"{root} is not on this machine", "Look where the engine runs.")
    return judge_disk(shutil.disk_usage(root).free, root)


def check_bridge(bridge: Path = _BRIDGE) -> Finding:
    """Whether the engine's bridge keeps its address; `bridge` is its directory in sysfs.

    dockerd chooses an address for a bridge that it makes and keeps one that it finds. Without an address of its own a
    bridge takes the lowest of its ports': containers that knew the old one are not heard until their ARP entry ends.
    """
    try:
        chosen = (bridge / "addr_assign_type").read_text().strip()
    except OSError:
        return Finding("bridge", Level.OK, f"no {bridge.name} on this machine")
    if chosen == _NET_ADDR_SET:
        return Finding("bridge", Level.OK, f"{bridge.name} has an address of its own")
    return Finding(
        "bridge",
        Level.WARNING,
        f"{bridge.name} changes its address with its containers: answers can be lost for a minute or two",
        f"ip link set dev {bridge.name} address 02:42:ac:11:00:01",
    )


def find_region(flag: str) -> tuple[str, Finding]:
    """The region that commands will use, empty where none is set."""
    from xgbpatch.aws import configured_region, require_region

    try:
        region = flag or configured_region()
        if region:
            require_region(region)
    except (AwsError, ConfigurationError) as error:
        return "", _failure("region", error)
    if region:
        return region, Finding("region", Level.OK, region)
    return "", Finding("region", Level.MISSING, "none", "Give --region, set AWS_DEFAULT_REGION, or run aws configure.")


def check_credentials(region: str) -> Finding:
    """Who AWS takes us for (STS GetCallerIdentity, which needs no permission)."""
    from xgbpatch.aws import AwsRegion

    try:
        return Finding("credentials", Level.OK, AwsRegion(region).identity().arn)
    except AwsError as error:
        return _failure("credentials", error)


def check_clock(region: str) -> Finding:
    """This machine's clock against the Date header of AWS's endpoint."""
    import requests

    from xgbpatch.aws import AwsRegion

    try:
        endpoint = AwsRegion(region).endpoint
    except AwsError as error:
        return _failure("clock", error)
    try:
        answer = requests.head(endpoint, timeout=10)
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError) as error:
        return Finding(
            "clock", Level.WARNING, f"{endpoint} gave no time ({type(error).__name__})", "Does this machine reach AWS?"
        )
    return judge_clock((datetime.now(timezone.utc) - theirs).total_seconds(), endpoint)


def check_uv() -> Finding:
    """uv resolves packages; a build without packages does not need it."""
    path = shutil.which("uv")
    with suppress(ImportError, FileNotFoundError):
        import uv

        path = uv.find_uv_bin()
    if path:
        return Finding("uv", Level.OK, path)
    fix = "pip install 'xgbpatch[packages]'"
    return Finding("uv", Level.WARNING, "not found: --package and the feature daal4py need it", fix)


def check_sandboxes(options: SandboxOptions | None = None) -> list[Finding]:
    """Each AWS on loopback that was made on this machine, and whether this shell is pointed at it; none is usual.

    A sandbox has its registry names in every shell, in those that are not pointed at it too.
    """
    from xgbpatch.sandbox import VARIABLES, SandboxOptions, known, pointed_at

    options, endpoint = options or SandboxOptions(), pointed_at()
    findings = [finding for state in known(options) if (finding := _sandbox(replace(options, state=state), endpoint))]
    if endpoint and not any(endpoint in finding.summary for finding in findings):
        left = f"this shell is pointed at {endpoint}, where no sandbox is any more"
        findings.append(Finding("sandbox", Level.WARNING, left, f"unset {' '.join(VARIABLES)}"))
    return findings or [Finding("sandbox", Level.OK, "not made")]


def _sandbox(options: SandboxOptions, endpoint: str) -> Finding | None:
    """About the sandbox in one state directory, None where there is none; `endpoint` is what this shell uses."""
    from xgbpatch import hostnames
    from xgbpatch.sandbox import status

    state = shlex.quote(str(options.state))
    try:
        current = status(options)
    except (XgbpatchError, OSError) as error:
        return Finding("sandbox", Level.WARNING, str(error), f"xgbpatch sandbox down --state {state}")
    if current is None:
        if str(options.state) not in hostnames.owners(options.hosts).values():
            return None
        left = f'the one in "{options.state}" is gone, and its names still stand in "{options.hosts}"'
        return Finding("sandbox", Level.WARNING, left, f"xgbpatch sandbox down --state {state}")
    if not current.healthy:
        broken = f'the one in "{options.state}" does not run as a whole'
        fix = f"To mend it: xgbpatch sandbox up --state {state}. To remove it: xgbpatch sandbox down --state {state}"
        return Finding("sandbox", Level.WARNING, broken, fix)
    running = f"running at {current.state.endpoint}"
    if current.state.endpoint == endpoint:
        return Finding("sandbox", Level.OK, f"{running}, and this shell is pointed at it")
    names = ", ".join(registry.host for registry in current.state.registries)
    elsewhere = f"{running}, and this shell is not pointed at it, although these names mean it: {names}"
    return Finding("sandbox", Level.WARNING, elsewhere, hostnames.commands(options.state))


def _failure(name: str, error: XgbpatchError) -> Finding:
    return Finding(name, Level.MISSING, error.message, error.next_step)
