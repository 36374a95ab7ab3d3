"""From flags, variables and `xgbpatch.toml` to specs. `loading` is the way in; the rest is what a value may be."""
