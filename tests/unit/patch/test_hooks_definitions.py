"""Two definitions are equal where Python would run the same, whatever they look like and whichever Python compares."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.patch import hooks

FUNCTION = '''
import os as system
from scipy import (sparse, stats)
LIMITS = [1,
          2]

@decorated(1)
def predict(model, rows=None):
    """Docstring."""
    # a comment
    text = f"{model!r} of {len(rows)}"
    return [text,
            rows]

class Handler(object):
    """Words."""
    kind = "csv"

    class Inner:
        def read(self, data):
            """Reads."""
            if data:
                return 1
            return 2
'''
REFORMATTED = '''
from scipy import stats
import os as system
LIMITS = [1, 2]  # the same
@decorated( 1 )
def predict(model, rows = None):
  """Another docstring,
  longer."""

  text = f"{model!r} of {len(rows)}"
  return [text, rows]
class Handler( object ):
    kind = "csv"
    class Inner:
        def read(self, data):
            if data: return 1
            return 2
'''


@pytest.mark.parametrize("name", ["predict", "LIMITS", "stats", "system"])
def test_comments_docstrings_and_layout_do_not_count(name):
    assert hooks.substance(FUNCTION, name) == hooks.substance(REFORMATTED, name)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("predict", "rows=None", "rows=()"),
        ("predict", "decorated(1)", "decorated(2)"),
        ("predict", "{len(rows)}", "{len(model)}"),
        ("predict", "    return [text", "    text += 1\n    return [text"),
        ("LIMITS", "          2]", "          3]"),
        ("Handler", "return 2", "return 3"),
        ("Handler.Inner.read", "return 2", "return 3"),
        ("Handler.Inner.read", "            return 2", "                return 2"),
        ("stats", "sparse, stats", "sparse, special as stats"),
        ("system", "import os as system", "import posix as system"),
    ],
)
def test_what_would_run_otherwise_counts(name, old, new):
    assert old in FUNCTION
    assert hooks.substance(FUNCTION, name) != hooks.substance(FUNCTION.replace(old, new, 1), name)


@pytest.mark.parametrize("name", ["Handler.kind", "Handler.Inner"])
def test_what_stands_beside_a_definition_does_not_count(name):
    changed = FUNCTION.replace("rows=None", "rows=()").replace("[1,", "[9,")
    assert hooks.substance(FUNCTION, name) == hooks.substance(changed, name) != None  # noqa: E711


@pytest.mark.parametrize("name", ["absent", "Handler.absent", "predict.text", "LIMITS.x"])
def test_what_nothing_binds_has_no_substance(name):
    assert hooks.substance(FUNCTION, name) is None
    assert hooks.excerpt(FUNCTION, name) == ""


def test_every_statement_that_binds_a_name_counts():
    source = "try:\n    import pickle\nexcept ImportError:\n    pickle = None\n"
    assert hooks.substance(source, "pickle") == "import pickle\npickle = None"


def test_an_excerpt_is_the_text_as_it_stands():
    assert hooks.excerpt("x = 1\ndef é():\n    'ö'\n    return 'ü'  # why\n", "é") == (
        "def é():\n    'ö'\n    return 'ü'"
    )


def test_the_parameters_of_a_function():
    assert hooks.parameters(FUNCTION, "predict") == "(model, rows=None)"
    assert hooks.parameters(FUNCTION, "LIMITS") == ""


@given(st.text(alphabet="ab \"'{}\\äλ#", max_size=20))
def test_any_text_in_a_string_counts(text):
    bare, other = f"def f():\n    return {text!r}\n", f"def f():\n    return {text + 'x'!r}\n"
    assert hooks.substance(bare, "f") != hooks.substance(other, "f")
    assert hooks.substance(bare, "f") == hooks.substance(bare + "# end\n", "f")


SAMPLE = '''
def f(a):
    """Doc."""
    b = f"{a!r:>{10}} {{x}} {'nested'} {a + 1}" rf"\\d{a}"
    c = f"""long {
        a} text
    """
    lambda: 1
    return b"x", 0x1F, 1_000, a @ b, (c := 1), ...
'''


def test_every_python_finds_the_same_substance():
    """The digest is written down here, so each Python that runs the tests is held to the same one."""
    text = hooks.substance(SAMPLE, "f")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e044c93bb96a330d"
