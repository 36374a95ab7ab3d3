from xgbpatch.overlays.fast import command as command
