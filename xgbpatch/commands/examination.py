"""The edge of a promotion: connects the engine when, and only when, an image has yet to be tested."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._outputs import OutputFolder

if TYPE_CHECKING:
    from xgbpatch.alias_memory import Moved
    from xgbpatch.reference import ImageReference
    from xgbpatch.remote.depot import Depot
    from xgbpatch.report import Report
    from xgbpatch.upkeep.promotion import Examiner

logs_option = click.option(
    "--logs",
    type=OutputFolder(),
    default=Path("xgbpatch-logs"),
    show_default=True,
    help="Where the container logs of failed checks are kept.",
)


def examiner(depot: Depot, logs: Path) -> Examiner:
    """Runs `test-local` on this machine's engine, with this user's credentials."""
    from xgbpatch.upkeep.promotion import Examiner

    def try_out(image: ImageReference) -> Report:
        from xgbpatch.contract import Options
        from xgbpatch.engine.client import Engine
        from xgbpatch.upkeep import trial

        with Engine.connect() as engine:
            return trial.try_out(engine, depot.registry, image, Options(logs=logs, progress=depot.progress))

    return Examiner(try_out, datetime.now(timezone.utc))


def alias_document(moved: Moved) -> dict[str, Any]:
    """An alias that moved, for `--json`: `previous` is null for a new one."""
    return {
        "alias": moved.alias.tag,
        "digest": moved.alias.digest,
        "previous": moved.before or None,
        "up_to_date": moved.up_to_date,
    }
