"""`test-local` on an image that only a registry holds: pulled by digest for it, and gone again afterwards."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from support.handmade import HandImage, put, services_on, tar
from xgbpatch.contract import Options
from xgbpatch.contract.model import Verdict
from xgbpatch.errors import ContractError
from xgbpatch.publish import aliases, test_record
from xgbpatch.publish.aliases import Tester


@pytest.fixture
def services(tmp_path):
    return services_on(tmp_path / "cache")


@pytest.fixture
def image(plain, services):
    """Neither `serve` nor anything else."""
    return put(services, plain.reference("a/b:1"), HandImage([tar({"etc/hello": b"hello"})]))


def test_the_image_is_tested_by_digest_and_removed_again(engine, services, image, tmp_path):
    options = Options(checks=("image.labels",), logs=tmp_path / "logs")
    report = test_record.run_test_local(engine, services.registry, image, options)
    assert (report.image, [result.verdict for result in report.results]) == (str(image.pinned), [Verdict.FAILED])
    assert engine.image(image.pinned) is None


def test_an_image_that_the_engine_held_already_stays_there(engine, services, image, tmp_path):
    local_image = engine.pull(image.pinned, None, services.progress)
    try:
        options = Options(checks=("image.labels",), logs=tmp_path / "logs")
        test_record.run_test_local(engine, services.registry, image, options)
        assert engine.image(image.pinned) == local_image
    finally:
        engine.remove(image.pinned)


def test_an_image_that_fails_is_not_promoted_and_gone_from_the_engine(plain, engine, services, image, tmp_path):
    options = Options(checks=("image.labels",), logs=tmp_path / "logs")
    tester = Tester(
        lambda image: test_record.run_test_local(engine, services.registry, image, options), datetime.now(timezone.utc)
    )
    with pytest.raises(ContractError, match=r"fails 1 of 1 checks: image\.labels"):
        aliases.promote(services, image, ["prod"], tester)
    assert plain.tags("a/b") == ["1"]
    assert engine.image(image.pinned) is None
