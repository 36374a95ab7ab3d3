"""What `xgbpatch inspect` says of an image, in words."""

import pytest

from xgbpatch.commands import inspect


@pytest.mark.parametrize(
    ("complaints", "words"),
    [
        (None, "the image has no pip"),
        ((), "no broken requirements"),
        (("a 1 requires b", "c 2 has requirement d"), "a 1 requires b; c 2 has requirement d"),
    ],
    ids=["no pip", "none", "two"],
)
def test_pip_check_is_told_in_pip_s_own_words(complaints, words):
    assert inspect._pip_check(complaints) == words
