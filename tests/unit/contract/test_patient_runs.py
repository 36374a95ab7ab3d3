"""Containers of `test-local` wait without burning the processors, unless the image itself says how."""

import pytest

from xgbpatch.contract.session import patient
from xgbpatch.engine.types import LocalImage, Run


@pytest.mark.parametrize(
    ("of_image", "environment", "expected"),
    [
        ({}, {"A": "1"}, {"A": "1", "OMP_WAIT_POLICY": "passive"}),
        ({"OMP_WAIT_POLICY": "active"}, {"A": "1"}, {"A": "1"}),
        ({}, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
    ids=["", "image", "asked"],
)
def test_threads_wait_as_the_image_says_or_without_spinning(of_image, environment, expected):
    image = LocalImage("sha256:1", (), (), {}, of_image, (), 0, "", "amd64")
    assert patient(Run(image.id, ("train",), environment=environment), image).environment == expected
