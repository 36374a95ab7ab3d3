from xgbpatch.overlays.multi_model import main as main
