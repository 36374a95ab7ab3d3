"""Keeping published images current: what is behind, and the steps that bring it up."""
