"""Images into registries: push, aliases, the scan gate, and what is attached to an image."""
