"""What scripts/bench measures with; tests/unit/support holds its instruments to known figures."""
