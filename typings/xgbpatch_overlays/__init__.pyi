# In an image xgbpatch/overlays is the package xgbpatch_overlays. For mypy: what is imported here under that name.
from xgbpatch.overlays import fixes as fixes
from xgbpatch.overlays import predictor as predictor
from xgbpatch.overlays import settings as settings
