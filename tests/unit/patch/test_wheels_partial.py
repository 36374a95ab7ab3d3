"""A distribution of which a part is used declares no requirement in the image, and keeps everything else."""

from xgbpatch.patch import wheels
from xgbpatch.patch.features import FEATURES

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\nRequires-Dist: numba\nRequires-Dist: tqdm >=4\n\nText\n"


def test_only_the_named_distribution_loses_its_requirements(tmp_path):
    site = tmp_path / "lib/python3.8/site-packages"
    for name in ("shap", "shapely"):
        (site / f"{name}-1.0.dist-info").mkdir(parents=True)
        (site / f"{name}-1.0.dist-info/METADATA").write_text(METADATA.format(name))
    wheels.undeclare(tmp_path, ("shap",))
    metadata = (site / "shap-1.0.dist-info/METADATA").read_text()
    assert metadata == "Metadata-Version: 2.1\nName: shap\nVersion: 1.0\n\nText\n"
    assert (site / "shapely-1.0.dist-info/METADATA").read_text() == METADATA.format("shapely")


def test_the_features_name_what_they_bring():
    for feature in FEATURES.values():
        for choice in feature.packages:
            names = {requirement.partition("==")[0] for requirement in choice.pins.requirements}
            assert set(choice.pins.partial) <= names
