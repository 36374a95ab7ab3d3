"""Which checks run, and what the tables hold."""

import pytest

from xgbpatch.contract import CHECKS, Options, dialogue
from xgbpatch.contract.abalone import FEATURES, rows
from xgbpatch.contract.table import selected
from xgbpatch.errors import ConfigurationError


def names(**options):
    return [check.name for check in selected(Options(**options))]


def test_names_are_unique_and_every_check_says_what_it_proves():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS if not check.what.endswith(".")] == []


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
    questions = dialogue.plain(rows())
    assert len({question.request for question in questions}) >= 60
    assert len({question.name for question in questions}) == len(questions)


def test_abalone_rows_are_as_wide_as_the_model_sees_them():
    assert len(rows()) == 626
    assert {len(row) for row in rows()} == {FEATURES}
    assert rows()[0][:3] == (0.0, 2.0, 0.645)
