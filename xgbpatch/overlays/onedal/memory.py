"""Whether a model can be converted in the memory that is free, while every worker converts its own at once."""

from __future__ import annotations

import os
from typing import Iterator, Mapping, Optional

from ..shap.request import count

TIMES = 20  # measured: at the peak the parsed document and both forests hold 15 to 20 times the model's JSON
LIMITS = (  # of a control group: its limit, what it uses, and the line of its statistics with what can be given back
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)


def guard(document_bytes: int, environment: Mapping[str, str], root: str = "/") -> str:
    """Why a model whose JSON has so many bytes is not to be converted, or an empty string."""
    needed, rest, sharing = TIMES * document_bytes, free(root), workers(environment)
    if rest is None or needed * sharing <= rest:
        return ""
    return "converting it may take {} MiB in each of {} workers, and {} MiB are free".format(
        needed >> 20, sharing, rest >> 20
    )


def workers(environment: Mapping[str, str]) -> int:
    """How many workers of the base's server load a model at the same time."""
    if environment.get("SAGEMAKER_MULTI_MODEL"):
        return count(environment.get("SAGEMAKER_NUM_MODEL_WORKERS", "")) or 1
    return count(environment.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")) or os.cpu_count() or 1


def free(root: str = "/") -> Optional[int]:
    """Bytes that this process may still take: what its container's limit leaves, and the machine has; None: unknown."""
    return min(_known(root), default=None)


def _known(root: str) -> Iterator[int]:
    for limit, usage, statistics, cache in LIMITS:
        most, used = _number(root, limit), _number(root, usage)
        if most is not None and used is not None:
            yield max(0, most - used + (_number(root, statistics, cache) or 0))
    available = _number(root, "proc/meminfo", "MemAvailable:")
    if available is not None:
        yield available * 1024


def _number(root: str, path: str, name: str = "") -> Optional[int]:
    """The number of a file, or behind `name` in its lines; None where there is none ("max" is none)."""
    try:
        with open(os.path.join(root, path), encoding="ascii") as file:
            lines = [line.split() for line in file]
    except (OSError, ValueError):
        return None
    for words in lines:
        found = words[1:2] if name and words[:1] == [name] else words[:1] if not name else []
        if found and found[0].isdecimal() and len(found[0]) < 20:
            return int(found[0])
    return None
