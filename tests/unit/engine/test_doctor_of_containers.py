"""What the doctor says of containers: no removal of what a living run needs, and words to decide the rest by."""

import pytest

from xgbpatch.doctor import Level, judge_containers
from xgbpatch.engine.ownership import Life
from xgbpatch.engine.types import OwnedContainer


def container(letter, life, owner='process 7 on "runner"'):
    return OwnedContainer(id=letter * 64, created="2026-01-02T03:04:05.678Z", owner=owner, life=life)


RUNNING, ENDED, UNKNOWN = container("a", Life.RUNNING), container("b", Life.ENDED), container("c", Life.UNKNOWN)


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        ([], "none left over"),
        ([ENDED], "none left over"),
        ([RUNNING, RUNNING], '2 of a run at work (process 7 on "runner")'),
        ([RUNNING, ENDED], '1 of a run at work (process 7 on "runner")'),
    ],
    ids=["none", "ended", "running", "running and ended"],
)
def test_nothing_to_mend_where_each_process_can_be_judged(containers, words):
    finding = judge_containers(containers)
    assert (finding.level, finding.summary, finding.fix) == (Level.OK, words, "")


def test_person_decides_about_the_others_alone():
    finding = judge_containers([RUNNING, ENDED, UNKNOWN, container("d", Life.UNKNOWN, 'an older xgbpatch, "vm:1"')])
    assert finding.level is Level.WARNING
    assert finding.summary.startswith('1 of a run at work (process 7 on "runner"); 2 ')
    assert 'cccccccccccc (process 7 on "runner", since 2026-01-02T03:04)' in finding.summary
    assert 'dddddddddddd (an older xgbpatch, "vm:1", since 2026-01-02T03:04)' in finding.summary
    assert finding.fix.endswith("no longer runs: docker rm -f -v cccccccccccc dddddddddddd")
