"""Every check in the order it runs, and which of them a user's choice of names selects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xgbpatch.contract.checks import against_base, daal4py, fixes, image, multi_model, serve, shap, train
from xgbpatch.contract.jobs import (
    ABALONE,
    ABALONE_CSV,
    BAD,
    FOLDS,
    FOLDS_AGAIN,
    INTERRUPTED,
    K_FOLD,
    LOGISTIC,
    OBSERVED,
    RESUMED,
    UNSTATED,
)
from xgbpatch.contract.model import Carried, Options
from xgbpatch.contract.payloads import CONTENT_TYPES
from xgbpatch.contract.server import (
    BATCH,
    BOOSTER,
    BOUND,
    DAAL4PY,
    ENSEMBLE,
    MULTI_MODEL,
    NEWER,
    PLAIN,
    SELECTABLE,
    SELECTED,
    SHAP,
    SHAP_BATCH,
    SHAP_MULTI_MODEL,
    SHAP_PROBABILITY,
    SHAP_SELECTED,
    UNLOADABLE,
    VOTES,
    VOTES_MULTI_MODEL,
)
from xgbpatch.contract.session import Need, Session
from xgbpatch.errors import ConfigurationError
from xgbpatch.util import nearest_word

AGAINST_BASE = "base"  # the group that runs on request


@dataclass(frozen=True)
class Check:
    """A check's stable name (`group.what`), its code, and the jobs and servers it needs, so that they start in time.

    `feature` or `fix` is the one that it is about: it applies to images that carry it.
    """

    name: str
    observe: Callable[[Session], str]
    need: Need | tuple[Need, ...] = ()
    purpose: str = ""
    feature: str = ""
    fix: str = ""

    @property
    def needs(self) -> tuple[Need, ...]:
        return self.need if isinstance(self.need, tuple) else (self.need,)

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    @property
    def what(self) -> str:
        """One line for `--list`."""
        return self.purpose or (self.observe.__doc__ or "").partition("\n")[0]

    def missing(self, carried: Carried) -> str:
        """Why it does not apply to an image that carries that, or nothing."""
        return carried.missing(self.feature, self.fix)


def _of(feature: str, what: str, observe: Callable[[Session], str], *needs: Need) -> Check:
    """A check of a feature, in the group of its name."""
    return Check(f"{feature}.{what}", observe, needs, feature=feature)


def _fix(name: str, observe: Callable[[Session], str], *needs: Need) -> Check:
    """The check of a fix."""
    return Check(f"fix.{name}", observe, needs, fix=name)


# By server, so that each runs as short as possible: a group's checks need not stand together.
CHECKS = (
    Check("image.commands", image.commands),
    Check("image.labels", image.labels),
    Check("image.platform", image.platform),
    Check("image.size", image.size),
    Check("train.model", train.model, ABALONE),
    Check("train.metrics", train.printed_metrics, ABALONE),
    Check("train.user-error", train.user_error, BAD),
    Check("train.csv", train.csv_job, ABALONE_CSV),
    _of("training", "files", train.written_files, ABALONE),
    _of("training", "importance", train.importance, ABALONE),
    _of("training", "hyperparameters", train.hyperparameters, OBSERVED),
    _of("training", "metrics", train.own_metrics, OBSERVED),
    _fix("custom-metrics", train.custom_metrics, LOGISTIC),
    _fix("kfold-eval", train.kfold_eval, K_FOLD),
    _fix("kfold-checkpoint", train.kfold_checkpoint, FOLDS, FOLDS_AGAIN),
    _fix("eval-metric-without-objective", train.eval_metric_without_objective, UNSTATED),
    _fix("checkpoint-resume", train.checkpoint_resume, INTERRUPTED, RESUMED),
    Check("serve.cold-start", serve.cold_start, PLAIN),
    Check("serve.ping", serve.ping, PLAIN),
    Check("serve.execution-parameters", serve.execution_parameters, PLAIN),
    *(
        Check(f"serve.{name}", serve.content_type(name), PLAIN, f"{kind.header} in: the scores are the booster's.")
        for name, kind in CONTENT_TYPES.items()
    ),
    Check("serve.accept-csv", serve.accept_csv, PLAIN),
    Check("serve.accept-json", serve.accept_json, PLAIN),
    Check("serve.errors", serve.error_answers, PLAIN),
    Check("serve.predictions", serve.predictions, PLAIN),
    _fix("libsvm-skew", fixes.libsvm_skew, PLAIN),
    _fix("jsonlines-accept", fixes.jsonlines_accept, PLAIN),
    _of("shap", "off", shap.off, PLAIN),
    _of("shap", "attributes", shap.attributes, PLAIN),
    _of("shap", "accept", shap.accept, PLAIN),
    _of("shap", "top-k", shap.top_k, PLAIN),
    _of("shap", "interactions", shap.interactions, PLAIN),
    _of("shap", "approximate", shap.approximate, PLAIN),
    _of("shap", "column-names", shap.column_names, PLAIN),
    _of("shap", "bad-option", shap.bad_option, PLAIN),
    Check("serve.selectable", serve.selectable, SELECTABLE),
    Check("serve.accept-jsonlines", serve.accept_jsonlines, SELECTABLE),
    _fix("recordio-growth", fixes.recordio_growth, SELECTABLE),
    Check("serve.bind-port", serve.bind_port, BOUND),
    Check("batch.lines", serve.batch_lines, BATCH),
    Check("batch.payload", serve.batch_payload, BATCH),
    Check("ensemble.mean", serve.ensemble_mean, ENSEMBLE),
    _of("shap", "mean", shap.ensemble_mean, ENSEMBLE),
    _fix("ensemble-vote", fixes.ensemble_vote, VOTES),
    Check("shap.vote", shap.ensemble_vote, VOTES, feature="shap", fix="ensemble-vote"),
    _fix("mme-ensemble-vote", fixes.mme_ensemble_vote, VOTES_MULTI_MODEL),
    Check("multi-model.ping", multi_model.ping, MULTI_MODEL),
    Check("multi-model.load", multi_model.load, MULTI_MODEL),
    Check("multi-model.list", multi_model.listing, MULTI_MODEL),
    Check("multi-model.double-load", multi_model.double_load, MULTI_MODEL),
    Check("multi-model.invoke", multi_model.invoke, MULTI_MODEL),
    _fix("mme-errors", fixes.mme_errors, MULTI_MODEL),
    _of("shap", "multi-model-attributes", shap.request_from_multi_model, MULTI_MODEL),
    Check("multi-model.unknown", multi_model.unknown, MULTI_MODEL),
    Check("multi-model.unload", multi_model.unload, MULTI_MODEL),
    _of("shap", "csv", shap.appended_csv, SHAP),
    _of("shap", "json", shap.appended_json, SHAP),
    _of("shap", "batch", shap.appended_batch, SHAP_BATCH),
    _of("shap", "multi-model", shap.appended_from_multi_model, SHAP_MULTI_MODEL),
    _of("shap", "keys-json", shap.selected_json, SHAP_SELECTED),
    _of("shap", "keys-jsonlines", shap.selected_json_lines, SHAP_SELECTED),
    _of("shap", "keys-csv", shap.selected_csv, SHAP_SELECTED),
    _of("shap", "keys-recordio-protobuf", shap.selected_recordio, SHAP_SELECTED),
    _of("shap", "payload", shap.selected_payload, SHAP_SELECTED),
    _of("shap-probability", "refused", shap.probability_refused, SHAP_SELECTED),
    _of("shap-probability", "values", shap.probability_values, SHAP_PROBABILITY),
    _of("shap-probability", "base-value", shap.probability_base_value, SHAP_PROBABILITY),
    _of("daal4py", "engine", daal4py.engine, DAAL4PY),
    _of("daal4py", "predictions", daal4py.predictions, DAAL4PY),
    _of("daal4py", "same-bytes", daal4py.same_bytes, DAAL4PY, BOOSTER),
    _fix("serve-exit-code", fixes.serve_exit_code, UNLOADABLE),
    _fix("pickle-refused", fixes.pickle_refused, UNLOADABLE),
    _of("training", "newer", train.newer, NEWER),
    *(
        Check(f"base.{stack.name}", against_base.same_answers(stack, questions), stack,
              f"The {stack.name} server answers as the base's, byte for byte.")
        for stack, questions in (
            (PLAIN, against_base.plain), (SELECTED, against_base.limited), (BATCH, against_base.reduced),
            (ENSEMBLE, against_base.reduced),
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
        meant = nearest_word(name, sorted(names))
        raise ConfigurationError(
            f'there is no check "{name}"' + (f'; did you mean "{meant}"?' if meant else ""),
            "`xgbpatch test-local --list` names them all; a group (`serve`) stands for its checks.",
        )
