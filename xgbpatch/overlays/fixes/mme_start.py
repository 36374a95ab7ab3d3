"""mme-start: the model server is found whether or not the launcher that started it has ended by then."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Iterator

from sagemaker_xgboost_container.mms_patch import model_server


def not_needed() -> str:
    """Whether the base passes over processes that have ended, as the inference toolkit does from 1.10.1 on."""
    source = inspect.getsource(model_server._retrieve_mms_server_process)
    if "psutil.process_iter()" not in source:
        return "the base looks for its model server in a way that this fix does not know"
    return "the base passes over processes that have ended" if "ZOMBIE" in source else ""


def install() -> None:
    """Show the base the processes that live: psutil from 5.9.6 on raises an error where it asks one that has ended."""
    module: Any = sys.modules[model_server._retrieve_mms_server_process.__module__]
    module.psutil = _Living(module.psutil)


class _Living(object):
    """The module `psutil`, without processes that have ended and that nobody has waited for."""

    def __init__(self, psutil: Any):
        self._psutil = psutil

    def __getattr__(self, name: str) -> Any:
        return getattr(self._psutil, name)

    def process_iter(self) -> Iterator[Any]:
        """As `psutil.process_iter`; one that ends meanwhile is an error there too, and the base looks again."""
        return (each for each in self._psutil.process_iter() if each.status() != self._psutil.STATUS_ZOMBIE)
