"""Where the scan gate stands in a push: the image is under its version tag, no alias has moved."""

from __future__ import annotations

import pytest

from support.commands import xgbpatch
from support.handmade import services_on
from xgbpatch.errors import ScanError
from xgbpatch.provenance import BASE_DIGEST, BASE_NAME, SPEC_DIGEST
from xgbpatch.publish.push import Publisher, PushRequest

BASE = "registry.example.com/sagemaker-xgboost:3.2-0"
MADE = {SPEC_DIGEST: "sha256:" + "1" * 64, BASE_NAME: BASE, BASE_DIGEST: "sha256:" + "2" * 64}


@pytest.fixture
def publisher(engine, tmp_path):
    """`publisher(gate)`."""
    return lambda judge: Publisher(engine, services_on(tmp_path / "cache"), judge)


class Judge:
    """A gate that remembers whom it has seen."""

    def __init__(self, error=None):
        self.error = error
        self.seen = []

    def __call__(self, base, image):
        self.seen.append((str(base), str(image)))
        if self.error:
            raise self.error


def test_image_that_fails_the_gate_stands_and_no_alias_moves(publisher, plain, make_image):
    parcel = PushRequest(make_image(MADE), plain.reference("team/model:1.0"), aliases=("prod",))
    with pytest.raises(ScanError):
        publisher(Judge(ScanError("worse"))).push(parcel)
    assert plain.tags("team/model") == ["1.0"]


def test_push_that_moves_no_alias_asks_no_gate(publisher, plain, make_image):
    judge = Judge(ScanError("worse"))
    publisher(judge).push(PushRequest(make_image(MADE), plain.reference("team/model:1.0")))
    assert judge.seen == []


def test_gate_is_given_base_and_image_by_digest(publisher, plain, make_image):
    judge = Judge()
    pushed = publisher(judge).push(PushRequest(make_image(MADE), plain.reference("team/model:1.0"), ("prod",)))
    assert judge.seen == [(f"{BASE}@{MADE[BASE_DIGEST]}", str(pushed.reference))]
    assert plain.tags("team/model") == ["1.0", "prod"]


def test_gate_is_not_asked_again_where_nothing_moves(publisher, plain, make_image):
    judge = Judge()
    image, place = make_image(MADE), plain.reference("team/model:1.0")
    publisher(judge).push(PushRequest(image, place, ("prod",)))
    publisher(judge).push(PushRequest(image, place, ("prod",)))
    assert len(judge.seen) == 1
    publisher(judge).push(PushRequest(image, place, ("prod", "next")))
    assert len(judge.seen) == 2


def test_image_that_names_no_base_is_the_gates_to_judge(publisher, plain, make_image):
    judge = Judge()
    pushed = publisher(judge).push(PushRequest(make_image(), plain.reference("team/model:1.0"), ("prod",)))
    assert judge.seen == [("None", str(pushed.reference))]


@pytest.mark.parametrize(("options", "warned"), [((), True), (("--no-scan-gate",), False)], ids=["default", "off"])
def test_command_has_the_gate_switched_on(plain, make_image, options, warned):
    completed = xgbpatch("push", make_image().tags[0], "--registry", plain.host, "--alias", "prod", *options)
    assert completed.returncode == 0, completed.stderr
    assert (f'no scans are compared: "{plain.host}" is not ECR' in completed.stderr) is warned
