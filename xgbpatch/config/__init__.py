"""From flags, variables and `xgbpatch.toml` to specs. `loader` is the way in; `fields` is what a value may be."""
