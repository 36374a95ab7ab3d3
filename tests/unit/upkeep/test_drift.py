"""Which changes of a base count as drift, and which do not."""

import hashlib
from dataclasses import replace

import pytest

from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts, UpstreamModule
from xgbpatch.patch import hooks
from xgbpatch.upkeep import drift
from xgbpatch.upkeep.drift import BaseSnapshot, DriftKind

SERVING = "sagemaker_xgboost_container.serving"
TRAINING = "sagemaker_xgboost_container.training"
ENCODER = "sagemaker_xgboost_container.encoder"
SERVING_TEXT = '''
def main(environ, start_response):
    """Answers."""
    return app(environ, start_response)

def untouched():
    return 1
'''
SOURCES = {
    SERVING: SERVING_TEXT,
    TRAINING: "def main():\n    train()\n",
    ENCODER: "def decode(x):\n    return x\n",
}
PYTHON = PythonFacts("3.12.8", "/p/bin/python3.12", "/p", "/p/lib/python3.12/site-packages", "x86_64", "2.34")


def facts_of(sources: dict[str, str], xgboost: str = "3.2.0", python: PythonFacts = PYTHON) -> Facts:
    modules = {
        name: UpstreamModule(f"/{name}.py", hashlib.sha256(text.encode()).hexdigest(), text)
        for name, text in sources.items()
    }
    distributions = {"xgboost": Distribution("xgboost", xgboost)}
    return Facts("sha256:0", python, distributions, modules, frozenset(), {}, {}, {})


def recorded(replaced=()) -> tuple[str, ...]:
    return hooks.recorded([], [], replaced, facts_of(SOURCES))


def changed(module: str, old: str, new: str) -> dict[str, str]:
    assert old in SOURCES[module]
    return {**SOURCES, module: SOURCES[module].replace(old, new)}


def compared(new: Facts, replaced=(), sources=None) -> tuple[drift.DriftFinding, ...]:
    modules = facts_of(sources).modules if sources else {}
    entries = recorded(replaced)
    return drift.compare(BaseSnapshot(entries, modules), drift.snapshot_of(new, entries))


def test_the_same_base_breaks_nothing():
    assert compared(facts_of(SOURCES)) == ()


@pytest.mark.parametrize(
    "sources",
    [
        changed(SERVING, '"""Answers."""', '"""Answers it."""  # and more'),
        changed(SERVING, "return 1", "return 2"),
        changed(ENCODER, "return x", "return None"),
        {**SOURCES, "sagemaker_xgboost_container.new": "x = 1"},
    ],
    ids=["docstring", "function that is not hooked", "module that is not hooked", "new module"],
)
def test_what_no_hook_touches_may_change(sources):
    assert compared(facts_of(sources)) == ()


@pytest.mark.parametrize(
    ("sources", "kind", "words"),
    [
        (changed(SERVING, "return app(", "return log(app)("), DriftKind.CHANGED, f'"{SERVING}:main" has changed'),
        (
            changed(SERVING, "main(environ, start", "main(environ, *, start"),
            DriftKind.PARAMETERS,
            f'"{SERVING}:main" takes other parameters: (environ, start_response) before, '
            "now (environ, *, start_response)",
        ),
        (changed(TRAINING, "def main", "def run"), DriftKind.GONE, f'"{TRAINING}:main" is gone'),
        ({k: v for k, v in SOURCES.items() if k != TRAINING}, DriftKind.GONE, f'"{TRAINING}:main" is gone'),
    ],
    ids=["body", "parameters", "gone", "module gone"],
)
def test_a_hooked_function_that_changed_is_named(sources, kind, words):
    assert [(clause.kind, clause.words) for clause in compared(facts_of(sources), sources=SOURCES)] == [(kind, words)]


def test_the_difference_is_shown_where_both_texts_are_known():
    new = facts_of(changed(SERVING, "return app(", "return log(app)("))
    (clause,) = compared(new, sources=SOURCES)
    assert "-    return app(environ, start_response)" in clause.difference.splitlines()
    assert "+    return log(app)(environ, start_response)" in clause.difference.splitlines()
    assert "untouched" not in clause.difference
    assert compared(new)[0].difference == ""


def test_a_long_difference_is_cut():
    long = "\n".join(f"    step_{number}()" for number in range(300))
    new = facts_of(changed(TRAINING, "    train()", long))
    (clause,) = compared(new, sources=SOURCES)
    assert len(clause.difference.splitlines()) == 81
    assert clause.difference.splitlines()[-1].startswith("… and ")


def test_a_hook_that_appears_counts():
    entries = tuple(entry.replace(entry.partition("=")[2], "missing") for entry in recorded() if TRAINING in entry)
    (clause,) = drift.compare(BaseSnapshot(entries), drift.snapshot_of(facts_of(SOURCES), entries))
    assert clause.kind is DriftKind.APPEARED
    assert f"{TRAINING}:main" in clause.words


def test_any_change_of_a_replaced_module_counts():
    sources = changed(ENCODER, "return x", "return x  # a comment")
    (clause,) = compared(facts_of(sources), replaced=[ENCODER], sources=SOURCES)
    assert clause.kind is DriftKind.REPLACED
    assert f'"{ENCODER}"' in clause.words
    assert "+    return x  # a comment" in clause.difference


@pytest.mark.parametrize(
    ("new", "kind", "parts"),
    [
        (facts_of(SOURCES, xgboost="3.3.0"), DriftKind.XGBOOST, ('"3.3"', '"3.2"')),
        (facts_of(SOURCES, python=replace(PYTHON, version="3.13.0")), DriftKind.PYTHON, ('"3.13"', '"3.12"')),
        (
            facts_of(SOURCES, python=replace(PYTHON, executable="/q/bin/python3.12")),
            DriftKind.PLACE,
            ('"/q/bin/python3.12"', '"/p/bin/python3.12"'),
        ),
        (facts_of(SOURCES, python=replace(PYTHON, site_packages="/q/site")), DriftKind.PLACE, ('"/q/site"',)),
    ],
    ids=["xgboost", "python", "executable", "site-packages"],
)
def test_another_xgboost_or_python_counts(new, kind, parts):
    (clause,) = compared(new)
    assert clause.kind is kind
    assert all(part in clause.words for part in parts)


@pytest.mark.parametrize(
    "new",
    [facts_of(SOURCES, xgboost="3.2.9"), facts_of(SOURCES, python=replace(PYTHON, version="3.12.99"))],
    ids=["xgboost", "python"],
)
def test_another_patch_release_does_not_count(new):
    assert compared(new) == ()


def test_what_an_older_label_does_not_tell_is_no_clause():
    new = drift.snapshot_of(facts_of(SOURCES, xgboost="3.3.0"), ())
    assert drift.compare(BaseSnapshot(()), new) == ()
