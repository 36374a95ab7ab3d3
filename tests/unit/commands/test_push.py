"""What `xgbpatch push` prints of images that stand, whatever goes wrong after that; the engine's own part is in
tests/engine."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from xgbpatch.commands import push
from xgbpatch.commands._options import Selection
from xgbpatch.config.settings import Flags
from xgbpatch.errors import ConfigurationError, RegistryError, ScanError
from xgbpatch.publish.push import PushRequest, PushResult
from xgbpatch.reference import ImageReference
from xgbpatch.spec import PublishTarget

IMAGE = SimpleNamespace(id="sha256:" + "1" * 64)
PLACES = [ImageReference.parse(f"{host}.example.com/team/model:1.0") for host in ("one", "two")]
REQUESTS = [PushRequest(IMAGE, place, ("prod",)) for place in PLACES]
DIGEST = "sha256:" + "2" * 64


class Publisher:
    """Fails in the step and at the destination that `errors` names."""

    def __init__(self, errors):
        self.errors = errors

    def publish(self, request):
        self._fail("publish", request)
        return PushResult(request.destination.with_digest(DIGEST))

    def move_aliases(self, request, published):
        self._fail("move", request)
        aliases = tuple(request.destination.with_tag(name).with_digest(DIGEST) for name in request.aliases)
        return PushResult(published.reference, aliases=aliases)

    def _fail(self, step, request):
        if error := self.errors.get((step, request.destination)):
            raise error


def names(*places):
    return "".join(f"{place.name}@{DIGEST}\n" for place in places)


@pytest.mark.parametrize(
    ("errors", "standing"),
    [
        ({}, PLACES),
        ({("publish", PLACES[0]): RegistryError("refused")}, PLACES[1:]),
        ({("move", PLACES[0]): ScanError("worse", "Pin it.")}, PLACES),
    ],
    ids=["all goes well", "refused", "the scan gate"],
)
def test_every_image_that_stands_is_told_and_no_failure_stops_the_others(capsys, errors, standing):
    pushed, failures = push._push_each(Publisher(errors), REQUESTS, as_json=False)
    assert capsys.readouterr().out == names(*standing)
    assert [result.reference.with_digest("") for result in pushed] == standing
    assert list(failures.items()) == [(place, error) for (_, place), error in errors.items()]


def test_document_lists_an_image_whose_alias_could_not_move_among_both(capsys):
    push._push_each(Publisher({("move", PLACES[0]): ScanError("worse", "Pin it.")}), REQUESTS, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(one["reference"], one["aliases"]) for one in document["pushed"]] == [
        (names(PLACES[0]).strip(), []), (names(PLACES[1]).strip(), ["prod"]),
    ]  # fmt: skip
    assert document["failed"] == [
        {"destination": str(PLACES[0]), "region": None, "message": "worse", "next_step": "Pin it.", "exit_code": 14}
    ]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_interrupt_while_the_scans_are_waited_for_leaves_the_name_on_stdout(capsys, as_json):
    with pytest.raises(KeyboardInterrupt):
        push._push_each(Publisher({("move", PLACES[0]): KeyboardInterrupt()}), REQUESTS, as_json=as_json)
    stdout = capsys.readouterr().out
    printed = json.loads(stdout)["pushed"][0]["reference"] + "\n" if as_json else stdout
    assert printed == names(PLACES[0])


def test_interrupt_before_anything_stands_prints_nothing(capsys):
    with pytest.raises(KeyboardInterrupt):
        push._push_each(Publisher({("publish", PLACES[0]): KeyboardInterrupt()}), REQUESTS, as_json=True)
    assert capsys.readouterr().out == ""


def test_region_that_is_none_is_refused_before_aws_is_asked():
    with pytest.raises(ConfigurationError, match='"us-wset-2" is not a region'):
        push._destinations(PLACES[0], PublishTarget(), Selection(Flags()), ("us-wset-2",), all_regions=False)
