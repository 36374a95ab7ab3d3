"""What a base holds: its facts, seen by running it or read from its layers."""
