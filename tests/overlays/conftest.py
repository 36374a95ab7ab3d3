"""These tests run inside the base's own packages: `scripts/overlay-tests` makes such environments and runs them there.

Where the base is not installed nothing is collected, and the report says so.
"""

import importlib.util
import sys

import pytest

BASE = importlib.util.find_spec("sagemaker_containers") is not None
collect_ignore_glob = [] if BASE else ["test_*.py"]


def pytest_report_header():
    if not BASE:
        return "overlay tests: not here; scripts/overlay-tests runs them on the base's packages"
    import numpy
    import xgboost
    from flask import Flask  # noqa: F401

    return f"overlay tests: Python {sys.version.split()[0]}, xgboost {xgboost.__version__}, numpy {numpy.__version__}"


@pytest.fixture
def server(tmp_path):
    """Starts the base's Flask application in this process; `server(model, ENVIRONMENT=...)` returns an Endpoint."""
    from support.overlays import endpoint

    with endpoint.Stage(tmp_path) as stage:
        yield stage.start
