"""Which checks run, and what the tables hold."""

from itertools import groupby

import pytest

from xgbpatch.contract import CHECKS, Options, payloads
from xgbpatch.contract.checks import against_base
from xgbpatch.contract.runner import selected
from xgbpatch.contract.server import PLAIN, Stack
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.features import FEATURES
from xgbpatch.patch.fixes import FIXES


def names(**options):
    return [check.name for check in selected(Options(**options))]


def test_names_are_unique_and_every_check_says_what_it_proves():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS if not check.what.endswith(".")] == []


def test_every_feature_and_every_fix_has_a_check_of_its_own():
    assert {check.feature for check in CHECKS} - {""} == set(FEATURES)
    assert {check.name for check in CHECKS if check.group == "fix"} == {f"fix.{name}" for name in FIXES}


def test_a_server_is_needed_by_checks_that_stand_together():
    """So that few run at a time; the plain server, which is stopped last, is the exception."""
    needs = [need for check in CHECKS if check.group != "base" for need in check.needs]
    needs = [need for need in needs if isinstance(need, Stack) and need is not PLAIN]
    runs = [need for need, _ in groupby(needs)]
    assert len(runs) == len(set(runs))


def test_the_base_is_compared_on_request_only():
    assert not [name for name in names() if name.startswith("base.")]
    assert "base.plain" in names(against_base=True)
    assert "serve.ping" in names(against_base=True)


def test_a_group_stands_for_its_checks_in_their_order():
    assert names(checks=("batch",)) == ["batch.lines", "batch.payload"]
    assert names(checks=("batch.payload", "image.size")) == ["image.size", "batch.payload"]


@pytest.mark.parametrize(
    ("wrong", "meant"), [("serve.csvv", "serve.csv"), ("trian", "train"), ("shap.jsn", "shap.json")]
)
def test_an_unknown_check_is_refused_with_the_nearest(wrong, meant):
    with pytest.raises(ConfigurationError, match=f'"{wrong}"; did you mean "{meant}"'):
        names(checks=(wrong,))


def test_the_comparison_sends_at_least_sixty_different_requests_to_the_plain_server():
    questions = against_base.plain(payloads.abalone_rows())
    assert len({question.request for question in questions}) >= 60
    assert len({question.name for question in questions}) == len(questions)


def test_abalone_rows_are_as_wide_as_the_model_sees_them():
    rows = payloads.abalone_rows()
    assert len(rows) == 626
    assert {len(row) for row in rows} == {payloads.ABALONE_FEATURES}
    assert rows[0][:3] == (0.0, 2.0, 0.645)
