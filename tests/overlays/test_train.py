"""`xgbpatch_overlays.train:main` is the base's training."""

import pytest
from xgbpatch_overlays import train


@pytest.mark.parametrize("ending", [SystemExit(0), SystemExit(3), RuntimeError("as it was")], ids=repr)
def test_the_bases_ending_passes(monkeypatch, ending):
    def training():
        raise ending

    monkeypatch.setattr(train.training, "main", training)
    with pytest.raises(type(ending)) as caught:
        train.main()
    assert caught.value is ending
