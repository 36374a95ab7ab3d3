"""Images read, built and moved in their registries, without an engine."""
