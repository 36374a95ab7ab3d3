"""`test-local` on an image in a registry, by digest, and the record of it that stays attached to that image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from xgbpatch.build.definition import rfc3339
from xgbpatch.contract.model import Report, Verdict
from xgbpatch.engine.client import afterwards
from xgbpatch.errors import ContractError, RegistryError
from xgbpatch.oci import document as oci_document
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services, referrers
from xgbpatch.registry.client import Registry
from xgbpatch.registry.referrers import Artifact

if TYPE_CHECKING:
    from xgbpatch.contract import Options
    from xgbpatch.engine.client import Engine

TEST_REPORT = "application/vnd.xgbpatch.test-report.v1+json"


@dataclass(frozen=True)
class TestRecord:
    """That every check of `test-local` passed, or did not apply, on the image `digest`: by which xgbpatch, when (RFC
    3339), and the verdict of each check by its name."""

    digest: str
    version: str
    date: str
    verdicts: Mapping[str, Verdict]

    @property
    def passed(self) -> bool:
        """A run that checked nothing proves nothing."""
        verdicts = set(self.verdicts.values())
        return Verdict.PASSED in verdicts and Verdict.FAILED not in verdicts


def latest_pass(services: Services, image: ImageReference) -> TestRecord | None:
    """The newest record of a run that passed, attached to the image that `image` names by digest; or None.

    What is no such record, or speaks of another image, is passed over.
    """
    blobs = services.blobs_of(image)
    attached = referrers.attached(services.registry, image, TEST_REPORT)
    records = [_parsed(referrers.read(services.registry, blobs, item)) for item in attached]
    passing = [record for record in records if record and record.passed and record.digest == image.pinned.digest]
    return max(passing, key=lambda record: record.date, default=None)


def run_test_local(engine: Engine, registry: Registry, image: ImageReference, options: Options) -> Report:
    """What `test-local` finds on the image that `image` names by digest, pulled for it, and removed again, where the
    engine has it not.

    Raises `RegistryError`, `EngineError` and `ConfigurationError`; what the image does wrong is in the report.
    """
    from xgbpatch import contract

    pinned = image.pinned
    if engine.image(pinned):
        return contract.check(engine, pinned, options)
    with afterwards(lambda: engine.remove(pinned)):
        options.progress.line(f"Pulling {pinned}")
        engine.pull(pinned, registry.credentials_for(pinned), options.progress)
        return contract.check(engine, pinned, options)


def record(services: Services, image: ImageReference, report: Report, moment: datetime) -> TestRecord:
    """The record of `report`, attached to the image that `image` names by digest.

    Raises `ContractError` unless every check passed or did not apply.
    """
    verdicts = {result.name: result.verdict for result in report.results}
    test = TestRecord(image.pinned.digest, installed_version("xgbpatch"), rfc3339(moment), verdicts)
    if not test.passed:
        raise failure(image.pinned, report)
    keep(services, image, test)
    return test


def failure(image: ImageReference | str, report: Report) -> ContractError:
    """The error that names the checks that `image` fails, and the log of the first."""
    failed = [result for result in report.results if result.verdict is Verdict.FAILED]
    logs = next((result.log for result in failed if result.log), "")
    return ContractError(
        f'"{image}" fails {len(failed)} of {len(report.results)} checks: {", ".join(result.name for result in failed)}',
        f"Logs: {logs}" if logs else "",
    )


def keep(services: Services, image: ImageReference, record: TestRecord) -> None:
    """Attach the record to its image."""
    content = json.dumps(document(record), indent=2).encode()
    referrers.attach(services.registry, services.blobs_of(image), image, Artifact(TEST_REPORT, TEST_REPORT, content))


def document(record: TestRecord) -> dict[str, Any]:
    """The record as it is attached, and as `--json` shows it."""
    verdicts = list(record.verdicts.values())
    return {
        "image": record.digest,
        "xgbpatch": record.version,
        "date": record.date,
        "passed": record.passed,
        "counts": {verdict.value: verdicts.count(verdict) for verdict in Verdict},
        "checks": {name: verdict.value for name, verdict in record.verdicts.items()},
    }


def _parsed(content: bytes) -> TestRecord | None:
    try:
        record = oci_document.parse(content, "the test record")
        verdicts = {str(name): Verdict(value) for name, value in record["checks"].items()}
        return TestRecord(str(record["image"]), str(record["xgbpatch"]), str(record["date"]), verdicts)
    except (RegistryError, ValueError, KeyError, TypeError, AttributeError):
        return None
