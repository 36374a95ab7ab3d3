"""Images as values, by the OCI specifications and Docker's: manifests, configurations, layers, trees of files."""
