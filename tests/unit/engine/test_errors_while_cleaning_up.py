"""An error while cleaning up never hides why a block ended."""

import pytest

from xgbpatch.cli import Terminated
from xgbpatch.engine.client import afterwards
from xgbpatch.errors import BuildError, EngineError


def failing():
    raise EngineError('container "1" could not be removed', "Try again.")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(), BuildError("no"), GeneratorExit()], ids=repr)
def test_what_ended_the_block_stays_and_the_clean_up_is_a_note(error):
    with pytest.raises(type(error)) as caught, afterwards(failing):
        raise error
    assert caught.value is error
    assert error.__notes__ == ['container "1" could not be removed. Try again.']


def test_notes_of_several_clean_ups_are_all_kept():
    with pytest.raises(KeyboardInterrupt) as caught, afterwards(failing), afterwards([].pop):
        raise KeyboardInterrupt
    assert caught.value.__notes__ == ["pop from empty list", 'container "1" could not be removed. Try again.']


def test_error_of_the_clean_up_is_raised_after_a_block_that_ended_well():
    with pytest.raises(EngineError, match="could not be removed"), afterwards(failing):
        pass


def test_interruption_of_the_clean_up_is_not_swallowed():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), afterwards(interrupted):
        raise BuildError("no")


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=["ended well", "interrupted"])
def test_clean_up_runs_once(error):
    runs = []

    def block():
        with afterwards(lambda: runs.append(1)):
            if error:
                raise error

    if error:
        with pytest.raises(KeyboardInterrupt):
            block()
    else:
        block()
    assert runs == [1]
    assert not getattr(error, "__notes__", [])
