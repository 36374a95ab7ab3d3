"""The table of environment variables that the overlays read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Variable:
    """One variable: the values it takes (empty: free text, checked by its reader) and what each does."""

    name: str
    allowed: Tuple[str, ...]
    default: str
    meaning: str


FEATURES = Variable(
    "XGBPATCH_FEATURES",
    (),
    "",
    "Features this image carries, comma-separated. Baked by the build; not for users.",
)
FIXES = Variable(
    "XGBPATCH_FIXES",
    (),
    "",
    "Fixes this image carries, comma-separated. Baked by the build; not for users.",
)
BASE = Variable(
    "XGBPATCH_BASE",
    (),
    "",
    "The base this image was built from, by tag and digest. Baked with the feature training; not for users.",
)
RELEASE = Variable(
    "XGBPATCH_RELEASE",
    (),
    "",
    "The xgbpatch this image was built with. Baked with the feature training; not for users.",
)
SHAP_LAYOUT = Variable(
    "XGBPATCH_SHAP_LAYOUT",
    ("off", "append"),
    "off",
    "append: base value and one SHAP value a feature follow the prediction of each record. Needs the feature shap.",
)
SHAP_HEADER = Variable(
    "XGBPATCH_SHAP_HEADER",
    ("off", "on"),
    "off",
    "on: an explained CSV response begins with a line that names its columns; never in batch transform, where a line "
    "is a record. Needs the feature shap.",
)
SHAP_TOP_K = Variable(
    "XGBPATCH_SHAP_TOP_K",
    (),
    "",
    "How many features an explanation names, the strongest by |value| first. Without it, append writes the values of "
    "all features, and the key shap_top_k five. Needs the feature shap.",
)
SHAP_SPACE = Variable(
    "XGBPATCH_SHAP_SPACE",
    ("margin", "probability"),
    "margin",
    "margin: values add up to the margin. probability: to the prediction, against the background rows that stand "
    "beside the model. Needs the feature shap; probability needs shap-probability too.",
)
SHAP_APPROXIMATE = Variable(
    "XGBPATCH_SHAP_APPROXIMATE",
    ("off", "on"),
    "off",
    "on: xgboost's approximate contributions (Saabas) in the place of exact tree SHAP. Needs the feature shap.",
)
SHAP_SECONDS = Variable(
    "XGBPATCH_SHAP_SECONDS",
    (),
    "50",
    "Seconds that the SHAP values of one request may take, by an estimate; a request above it is refused (413) with "
    "the number of records that fit. SageMaker ends a request after 60.",
)
SHAP_MEGABYTES = Variable(
    "XGBPATCH_SHAP_MEGABYTES",
    (),
    "",
    "MiB that an explained response may have, 6 without it and 100 in batch transform, as SageMaker's own limits; a "
    "larger one is refused (413) with the number of records that fit.",
)
ENGINE = Variable(
    "XGBPATCH_ENGINE",
    ("booster", "auto", "daal4py"),
    "booster",
    "booster: xgboost predicts. daal4py: oneDAL predicts where it was proved bit for bit equal. auto: the same, where "
    "it was also measured to be faster. Needs the feature daal4py, which sets it to auto.",
)
VARIABLES = (
    FEATURES,
    FIXES,
    BASE,
    RELEASE,
    SHAP_LAYOUT,
    SHAP_HEADER,
    SHAP_TOP_K,
    SHAP_SPACE,
    SHAP_APPROXIMATE,
    SHAP_SECONDS,
    SHAP_MEGABYTES,
    ENGINE,
)
