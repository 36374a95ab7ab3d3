"""Every check in the order it runs, which of them a user's choice of names selects, and the run itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from packaging.version import Version

from xgbpatch import catalogue, provenance
from xgbpatch.contract import jobs, server
from xgbpatch.contract.checks import against_base, json_input, multi_model, serve, shap, train
from xgbpatch.contract.checks import image as image_checks
from xgbpatch.contract.jobs import Job
from xgbpatch.contract.model import CheckResult, NotApplicable, Options, Report, Verdict, Violation, read_carried
from xgbpatch.contract.payloads import CONTENT_TYPES
from xgbpatch.contract.session import Need, Session
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import ConfigurationError, EngineError
from xgbpatch.inspection import model_file
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
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


def _of(feature: str, what: str, observe: Callable[[Session], str], *needs: Need) -> Check:
    """A check of a feature, in the group of its name."""
    return Check(f"{feature}.{what}", observe, needs, feature=feature)


def _fix(name: str, observe: Callable[[Session], str], *needs: Need) -> Check:
    """The check of a fix."""
    return Check(f"fix.{name}", observe, needs, fix=name)


# By server, so that each runs as short as possible: a group's checks need not stand together.
CHECKS = (
    Check("image.commands", image_checks.commands),
    Check("image.labels", image_checks.labels),
    Check("image.platform", image_checks.platform),
    Check("image.size", image_checks.size),
    Check("train.model", train.model, jobs.ABALONE),
    Check("train.metrics", train.printed_metrics, jobs.ABALONE),
    Check("train.user-error", train.user_error, jobs.BAD),
    Check("train.csv", train.csv_job, jobs.ABALONE_CSV),
    _of("training", "files", train.written_files, jobs.ABALONE),
    _of("training", "importance", train.importance, jobs.ABALONE),
    _of("training", "hyperparameters", train.hyperparameters, jobs.OBSERVED),
    _of("training", "metrics", train.own_metrics, jobs.OBSERVED),
    _fix("custom-metrics", train.custom_metrics, jobs.LOGISTIC),
    _fix("kfold-eval", train.kfold_eval, jobs.K_FOLD),
    _fix("kfold-checkpoint", train.kfold_checkpoint, jobs.FOLDS, jobs.FOLDS_AGAIN),
    _fix("eval-metric-without-objective", train.eval_metric_without_objective, jobs.UNSTATED),
    _fix("hyperparameter-encoding", train.hyperparameter_encoding, jobs.ENCODED),
    _fix("metrics", train.metrics, jobs.PROBABILITIES),
    _fix("objectives", train.objectives, jobs.SEEDED),
    _fix("early-stopping", train.early_stopping, jobs.LINEAR),
    _fix("checkpoint-resume", train.checkpoint_resume, jobs.INTERRUPTED, jobs.RESUMED),
    Check("serve.cold-start", serve.cold_start, server.PLAIN),
    Check("serve.ping", serve.ping, server.PLAIN),
    Check("serve.execution-parameters", serve.execution_parameters, server.PLAIN),
    *(
        Check(f"serve.{name}", serve.content_type(name), server.PLAIN,
              f"{kind.header} in: the scores are the booster's.")
        for name, kind in CONTENT_TYPES.items()
    ),
    Check("serve.accept-csv", serve.accept_csv, server.PLAIN),
    Check("serve.accept-json", serve.accept_json, server.PLAIN),
    Check("serve.errors", serve.error_answers, server.PLAIN),
    Check("serve.predictions", serve.predictions, server.PLAIN),
    _fix("libsvm-skew", serve.libsvm_skew, server.PLAIN),
    _fix("empty-rows", serve.empty_rows, server.PLAIN),
    _fix("row-width", serve.row_width, server.PLAIN),
    _fix("jsonlines-accept", serve.jsonlines_accept, server.PLAIN),
    _of("fast", "server", serve.lean_server, server.PLAIN),
    _of("shap", "off", shap.off, server.PLAIN),
    _of("shap", "attributes", shap.attributes, server.PLAIN),
    _of("shap", "accept", shap.accept, server.PLAIN),
    _of("shap", "top-k", shap.top_k, server.PLAIN),
    _of("shap", "interactions", shap.interactions, server.PLAIN),
    _of("shap", "approximate", shap.approximate, server.PLAIN),
    _of("shap", "column-names", shap.column_names, server.PLAIN),
    _of("shap", "bad-option", shap.bad_option, server.PLAIN),
    _of("json-input", "forms", json_input.forms, server.PLAIN),
    _of("json-input", "refusals", json_input.refusals, server.PLAIN),
    Check("serve.selectable", serve.selectable, server.SELECTABLE),
    Check("serve.accept-jsonlines", serve.accept_jsonlines, server.SELECTABLE),
    _fix("recordio-growth", serve.recordio_growth, server.SELECTABLE),
    Check("serve.unlisted-objective", serve.unlisted_objective, server.COUNTS, fix="objectives"),
    Check("serve.bind-port", serve.bind_port, server.BATCH),
    Check("batch.lines", serve.batch_lines, server.BATCH),
    Check("batch.payload", serve.batch_payload, server.BATCH),
    _of("json-input", "names", json_input.names, server.JSON_NAMED),
    Check("ensemble.mean", serve.ensemble_mean, server.ENSEMBLE),
    _of("shap", "mean", shap.ensemble_mean, server.ENSEMBLE),
    _fix("ensemble-vote", serve.ensemble_vote, server.VOTES),
    Check("shap.vote", shap.ensemble_vote, server.VOTES, feature="shap", fix="ensemble-vote"),
    Check("multi-model.ping", multi_model.ping, server.MULTI_MODEL),
    Check("multi-model.load", multi_model.load, server.MULTI_MODEL),
    Check("multi-model.list", multi_model.listing, server.MULTI_MODEL),
    Check("multi-model.double-load", multi_model.double_load, server.MULTI_MODEL),
    Check("multi-model.invoke", multi_model.invoke, server.MULTI_MODEL),
    _fix("mme-errors", multi_model.mme_errors, server.MULTI_MODEL),
    _of("shap", "multi-model-attributes", shap.request_from_multi_model, server.MULTI_MODEL),
    _of("json-input", "multi-model", json_input.from_multi_model, server.MULTI_MODEL),
    _fix("mme-start", multi_model.mme_start, server.MULTI_MODEL),
    _fix("mme-ensemble-vote", multi_model.mme_ensemble_vote, server.MULTI_MODEL, jobs.K_FOLD),
    _fix("model-files", multi_model.model_files, server.MULTI_MODEL),
    _fix("model-missing", multi_model.model_missing, server.MULTI_MODEL),
    _fix("model-formats", multi_model.model_formats, server.MULTI_MODEL),
    Check("multi-model.unknown", multi_model.unknown, server.MULTI_MODEL),
    Check("multi-model.unload", multi_model.unload, server.MULTI_MODEL),
    _of("shap", "csv", shap.appended_csv, server.SHAP),
    _of("shap", "json", shap.appended_json, server.SHAP),
    _of("shap", "batch", shap.appended_batch, server.SHAP_BATCH),
    _of("shap", "multi-model", shap.appended_from_multi_model, server.SHAP_MULTI_MODEL),
    _of("shap", "keys-json", shap.selected_json, server.SHAP_SELECTED),
    _of("shap", "keys-jsonlines", shap.selected_json_lines, server.SHAP_SELECTED),
    _of("shap", "keys-csv", shap.selected_csv, server.SHAP_SELECTED),
    _of("shap", "keys-recordio-protobuf", shap.selected_recordio, server.SHAP_SELECTED),
    _of("shap", "payload", shap.selected_payload, server.SHAP_SELECTED),
    _of("shap-probability", "refused", shap.probability_refused, server.SHAP_SELECTED),
    _of("shap-probability", "values", shap.probability_values, server.SHAP_PROBABILITY),
    _of("shap-probability", "base-value", shap.probability_base_value, server.SHAP_PROBABILITY),
    _of("daal4py", "engine", serve.engine, server.DAAL4PY),
    _of("daal4py", "predictions", serve.engine_predictions, server.DAAL4PY),
    _of("daal4py", "same-bytes", serve.engine_bytes, server.DAAL4PY, server.BOOSTER),
    _fix("serve-exit-code", serve.serve_exit_code, server.UNLOADABLE),
    _fix("pickle-refused", serve.pickle_refused, server.UNLOADABLE),
    _of("training", "newer", train.newer, server.NEWER),
    *(
        Check(f"base.{stack.name}", against_base.same_answers(stack, questions), stack,
              f"The {stack.name} server answers as the base's, byte for byte.")
        for stack, questions in (
            (server.PLAIN, against_base.plain), (server.SELECTED, against_base.limited),
            (server.BATCH, against_base.reduced), (server.ENSEMBLE, against_base.reduced),
        )
    ),
    Check("base.multi-model", against_base.same_answers(server.MULTI_MODEL, against_base.whole_life),
          server.MULTI_MODEL, "The multi-model server answers as the base's, from before a model is loaded to after."),
    Check("serve.stop", serve.stop, server.PLAIN),
)  # fmt: skip


def selected(options: Options) -> tuple[Check, ...]:
    """The checks that `options` ask for; raises `ConfigurationError` that names an unknown one and the nearest."""
    names = {*(check.name for check in CHECKS), *(check.group for check in CHECKS)}
    for name in options.checks:
        if name not in names:
            meant = nearest_word(name, sorted(names))
            raise ConfigurationError(
                f'there is no check "{name}"' + (f'; did you mean "{meant}"?' if meant else ""),
                "`xgbpatch test-local --list` names them all; a group (`serve`) stands for its checks.",
            )
    return tuple(
        check for check in CHECKS
        if not {check.name, check.group}.isdisjoint(options.checks)
        or (options.against_base if check.group == AGAINST_BASE else not options.checks)
    )  # fmt: skip


# The checks of one image, run in order.


_JOBS_AHEAD = 3  # at once, before the first check; the others begin one by one, before they are asked


def check(engine: Engine, image: ImageReference | str, options: Options) -> Report:
    """Prove a local `image` (a reference or an ID) under SageMaker's contract.

    Raises `ConfigurationError` for an unknown check, image or model directory, before anything is started, and
    `EngineError` when the engine itself stops answering; what the image does wrong is in the report.
    """
    checks = selected(options)
    local = engine.require_image(image)
    if options.base:
        engine.require_image(options.base)
    if options.model is not None:
        script_mode = "SAGEMAKER_PROGRAM" in local.environment
        explains_folder = "model-files" in read_carried(local).fixes
        require_model(options.model, any_file=script_mode or explains_folder)
        if not script_mode:
            require_readable(options.model, xgboost_of_image(local), options.progress)
    with Session.opened(engine, local, options) as session:
        return Report(str(image), tuple(_results(session, checks)))


_ARCHIVES = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")


def require_model(folder: Path, *, any_file: bool = False) -> None:
    """Raises `ConfigurationError` for a folder whose model no server could load: the base loads every file that stands
    in it and has no dot before its name, or fails. `any_file`: what else lies there is no harm, because the user's own
    module loads what it likes, or the image tells models from other files."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        heads = {path: _head(path) for path in files}
    except OSError as error:
        raise ConfigurationError(
            f'--model "{folder}" cannot be read: {error.strerror or error}', "Name a folder."
        ) from error
    if not files:
        raise ConfigurationError(f'--model "{folder}" holds no model file', "Name the unpacked folder of model.tar.gz.")
    for path, head in {} if any_file else heads.items():
        if head.startswith(_ARCHIVES):
            raise ConfigurationError(f'--model: "{path}" is an archive', f'Unpack it: tar -xf "{path}" -C FOLDER')
        if not head or _is_text(head):
            raise ConfigurationError(
                f'--model: "{path}" is no model, and the server loads every file of the folder',
                "Leave the model alone in it; the server passes over sub-folders, and the fix model-files over files.",
            )


def require_readable(folder: Path, xgboost: Version | None, progress: Progress) -> None:
    """Raises `ConfigurationError` for a model in a form that the image's `xgboost` does not read, and says so of one
    that it reads and predicts other numbers with."""
    for path in sorted(folder.iterdir()) if xgboost else ():
        file = model_file.recognise(path.read_bytes()) if path.is_file() and not path.name.startswith(".") else None
        verdict = model_file.verdict(file, xgboost) if file and xgboost else model_file.EQUAL
        wrote = f" that xgboost {file.xgboost} wrote" if file and file.xgboost else ""
        if file and verdict == model_file.REFUSED:
            raise ConfigurationError(
                f'--model: "{path}" is {file.format.title}{wrote}, which xgboost {xgboost} of this image does not read',
                f'xgbpatch convert-model "{path}" model.json --for {xgboost}'
                + (" --unpickle" if file.format is model_file.Format.PICKLE else ""),
            )
        if file and verdict == model_file.OTHER:
            progress.line(f'warning: "{path}"{wrote} loads in xgboost {xgboost}, which predicts other numbers with it')


def xgboost_of_image(image: LocalImage) -> Version | None:
    """By its labels, else by a tag of the official image."""
    origin = provenance.read(image.labels)
    names = [origin.version] if origin else [tag.rpartition(":")[2] for tag in image.tags]
    return next(filter(None, (catalogue.xgboost_of(name, origin) for name in names)), None)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _is_text(head: bytes) -> bool:
    """Not JSON, as xgboost writes it, and no pickle of protocol 0, which begins with one of these letters."""
    return head.isascii() and b"\0" not in head and not head.startswith((b"{", b"c", b"("))


def _results(session: Session, checks: Sequence[Check]) -> Iterator[CheckResult]:
    missing = {check.name: session.carried.missing(check.feature, check.fix) for check in checks}
    later = [check for check in checks if not missing[check.name]]
    training = dict.fromkeys(need for check in later for need in check.needs if isinstance(need, Job))
    for job in islice(training, _JOBS_AHEAD):
        session.warm(job)
    for position, current in enumerate(checks, 1):
        session.options.progress.line(f"[{position}/{len(checks)}] {current.name}")
        if missing[current.name]:
            yield CheckResult(current.name, Verdict.SKIPPED, missing[current.name], 0.0)
            continue
        session.retain({need for check in later for need in check.needs})
        session.forget_used()
        begun = time.monotonic()
        for need in current.needs:
            if session.options.model and isinstance(need, server.Stack):
                session.warm(need)  # its own server tells it of the model, and no other is started for that
        verdict, reason = _verdict(session, current)
        seconds = time.monotonic() - begun
        log = session.save_logs() if verdict is Verdict.FAILED else ""
        yield CheckResult(current.name, verdict, reason, seconds, log)
        later.remove(current)
        # The next server boots, or the next job trains, while this one is still asked.
        following = (need for check in later for need in check.needs if need not in current.needs)
        for need in islice(following, 1):
            session.warm(need)


def _verdict(session: Session, current: Check) -> tuple[Verdict, str]:
    try:
        return Verdict.PASSED, current.observe(session)
    except NotApplicable as reason:
        return Verdict.SKIPPED, str(reason)
    except Violation as reason:
        return Verdict.FAILED, str(reason)
    except EngineError as error:
        session.engine.leftovers()  # raises where it is the engine that failed, and not this image
        return Verdict.FAILED, error.message
