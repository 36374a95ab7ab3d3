"""The schemas that GitHub and GitLab publish, as check-jsonschema has them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result


def check(path: Path, *options: str) -> Result:
    """check-jsonschema on a file, in this process; imported here, for that takes seconds of whoever collects."""
    import check_jsonschema

    return CliRunner().invoke(check_jsonschema.main, [*options, str(path)])
