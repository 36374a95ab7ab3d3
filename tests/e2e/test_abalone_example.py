"""The example of the README: a picture of SHAP values, drawn from given values."""

import runpy

import pytest

from support.abalone_example import EXAMPLE, README_PICTURE, size


@pytest.fixture(scope="module")
def picture():
    return runpy.run_path(str(EXAMPLE / "picture.py"))


def bars(picture, waterfall):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    picture["_panel"](axes, waterfall)
    return [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_facecolor()) for bar in axes.patches]


def test_bars_lead_from_the_base_value_to_the_prediction_weakest_first(picture):
    from matplotlib.colors import to_rgba

    steps = [picture["Step"](*step) for step in (("a", -2.0), ("b", 0.5), ("c", 3.0))]
    found = bars(picture, picture["Waterfall"]("title", 10.0, steps))
    raises, lowers = to_rgba(picture["RAISES"]), to_rgba(picture["LOWERS"])
    assert found == [(10.0, 10.5, raises), (10.5, 8.5, lowers), (8.5, 11.5, raises)]


def test_the_picture_of_the_readme_is_small_and_of_three_panels(picture):
    width, height = (side * picture["DOTS_PER_INCH"] for side in picture["PANEL"])
    assert README_PICTURE.stat().st_size < 150_000
    assert size(README_PICTURE) == (round(3 * width), round(height))
