"""The engine as tests use it: its containers share two processors with many others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Run

MEMORY = ("PYTHONMALLOC", "GLIBC_TUNABLES")  # how scripts/test has programs take their memory


class PatientEngine(Engine):
    """In whose containers threads of OpenMP that wait do not spin, as in those of `test-local`, and programs take
    memory as the tests themselves do."""

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        memory = {name: os.environ[name] for name in MEMORY if name in os.environ}
        patient = replace(run, environment={"OMP_WAIT_POLICY": "passive", **memory, **run.environment})
        with super().container(patient) as container:
            yield container
