"""What is added to a base: files, variables, packages, features, fixes, and the hooks that they rely on."""
