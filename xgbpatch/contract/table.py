"""Every check in the order it runs, and which of them a user's choice of names selects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xgbpatch.contract import (
    against_base,
    batch,
    daal4py,
    dialogue,
    ensemble,
    image,
    multi_model,
    refusal,
    serve,
    shap,
    train,
)  # fmt: skip
from xgbpatch.contract.options import Options
from xgbpatch.contract.payload import CONTENT_TYPES
from xgbpatch.contract.server import (
    BATCH,
    BOUND,
    DAAL4PY,
    ENSEMBLE,
    MULTI_MODEL,
    PLAIN,
    SELECTABLE,
    SELECTED,
    SHAP,
    SHAP_BATCH,
    SHAP_MULTI_MODEL,
)
from xgbpatch.contract.session import ABALONE, ABALONE_CSV, BAD, Need, Session
from xgbpatch.errors import ConfigurationError
from xgbpatch.suggestion import nearest

AGAINST_BASE = "base"  # the group that runs on request


@dataclass(frozen=True)
class Check:
    """A check's stable name (`group.what`), its code, and the job or server it needs, so that it starts in time."""

    name: str
    observe: Callable[[Session], str]
    need: Need | None = None
    purpose: str = ""

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    @property
    def what(self) -> str:
        """One line for `--list`."""
        return self.purpose or (self.observe.__doc__ or "").partition("\n")[0]


CHECKS = (
    Check("image.commands", image.commands),
    Check("image.labels", image.labels),
    Check("image.platform", image.platform),
    Check("image.size", image.size),
    Check("train.model", train.model, ABALONE),
    Check("train.metrics", train.metrics, ABALONE),
    Check("train.user-error", train.user_error, BAD),
    Check("train.csv", train.csv, ABALONE_CSV),
    Check("serve.cold-start", serve.cold_start, PLAIN),
    Check("serve.ping", serve.ping, PLAIN),
    Check("serve.execution-parameters", serve.execution_parameters, PLAIN),
    *(
        Check(f"serve.{name}", serve.content_type(name), PLAIN, f"{kind.header} in: the scores are the booster's.")
        for name, kind in CONTENT_TYPES.items()
    ),
    Check("serve.accept-csv", serve.accept_csv, PLAIN),
    Check("serve.accept-json", serve.accept_json, PLAIN),
    Check("serve.errors", refusal.errors, PLAIN),
    Check("serve.predictions", serve.predictions, PLAIN),
    Check("serve.selectable", serve.selectable, SELECTABLE),
    Check("serve.accept-jsonlines", serve.accept_jsonlines, SELECTABLE),
    Check("serve.bind-port", serve.bind_port, BOUND),
    Check("batch.lines", batch.lines, BATCH),
    Check("batch.payload", batch.payload, BATCH),
    Check("ensemble.mean", ensemble.mean, ENSEMBLE),
    Check("multi-model.ping", multi_model.ping, MULTI_MODEL),
    Check("multi-model.load", multi_model.load, MULTI_MODEL),
    Check("multi-model.list", multi_model.listing, MULTI_MODEL),
    Check("multi-model.double-load", multi_model.double_load, MULTI_MODEL),
    Check("multi-model.invoke", multi_model.invoke, MULTI_MODEL),
    Check("multi-model.unknown", multi_model.unknown, MULTI_MODEL),
    Check("multi-model.unload", multi_model.unload, MULTI_MODEL),
    Check("shap.off", shap.off, PLAIN),
    Check("shap.csv", shap.csv, SHAP),
    Check("shap.json", shap.json, SHAP),
    Check("shap.batch", shap.batch, SHAP_BATCH),
    Check("shap.multi-model", shap.from_multi_model, SHAP_MULTI_MODEL),
    Check("daal4py.engine", daal4py.engine, DAAL4PY),
    Check("daal4py.predictions", daal4py.predictions, DAAL4PY),
    *(
        Check(f"base.{stack.name}", against_base.same_answers(stack, questions), stack,
              f"The {stack.name} server answers as the base's, byte for byte.")
        for stack, questions in (
            (PLAIN, dialogue.plain), (SELECTED, dialogue.limited), (BATCH, dialogue.reduced),
            (ENSEMBLE, dialogue.reduced),
        )
    ),
    Check("base.multi-model", against_base.same_multi_model, MULTI_MODEL),
    Check("serve.stop", serve.stop, PLAIN),
)  # fmt: skip


def selected(options: Options) -> tuple[Check, ...]:
    """The checks that `options` ask for; raises `ConfigurationError` that names an unknown one and the nearest."""
    groups = {check.group for check in CHECKS}
    for name in options.checks:
        _known(name, {*groups, *(check.name for check in CHECKS)})
    return tuple(check for check in CHECKS if _asked(check, options))


def _asked(check: Check, options: Options) -> bool:
    if not {check.name, check.group}.isdisjoint(options.checks):
        return True
    if check.group == AGAINST_BASE:
        return options.against_base
    return not options.checks


def _known(name: str, names: set[str]) -> None:
    if name not in names:
        meant = nearest(name, sorted(names))
        raise ConfigurationError(
            f'there is no check "{name}"' + (f'; did you mean "{meant}"?' if meant else ""),
            "`xgbpatch test-local --list` names them all; a group (`serve`) stands for its checks.",
        )
