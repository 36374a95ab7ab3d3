"""What base and patched images serve side by side, and with what switched on."""

from __future__ import annotations

from support.bases import LONG
from support.differential.stage import Scene

ONEDAL = {"XGBPATCH_ENGINE": "daal4py"}
APPEND = {"XGBPATCH_ENGINE": "booster", "XGBPATCH_SHAP_LAYOUT": "append"}
ENVIRONMENTS = {"asked": ONEDAL, "append": APPEND, "both": {**APPEND, **ONEDAL}}
FAST = "fast"  # the lean server, with SHAP values for who asks

PAYLOAD_LIMIT = 21 * 2**20  # bytes
_LIMITED = {"MAX_CONTENT_LENGTH": str(PAYLOAD_LIMIT), "XGBPATCH_SHAP_MEGABYTES": "64"}
_SELECTED = {"SAGEMAKER_INFERENCE_OUTPUT": "probability"}  # of several keys protobuf writes in a random order
_OFF = ("off",) if LONG else ()  # NATIVE and MULTI_MODEL always have it
NATIVE = Scene("native", ("softprob",), _LIMITED, share=0.3, parts=("off", "both", FAST))  # tests of load share them
PICKLED = Scene("pickled", ("pickled",), share=0.2, parts=(*_OFF, "asked"))
BATCH = Scene("batch", ("early-stopping",), {"SAGEMAKER_BATCH": "true"}, share=0.15, parts=("append",))
SELECTABLE = Scene("selectable", ("ensemble-binary",), _SELECTED, share=0.2, parts=(*_OFF, "append"))
MULTI_MODEL = Scene("multi-model", ("missing",), multi_model=True, share=0.15, parts=("off", "asked"))
MODELS = tuple(model for scene in (NATIVE, PICKLED, BATCH, SELECTABLE, MULTI_MODEL) for model in scene.models)
