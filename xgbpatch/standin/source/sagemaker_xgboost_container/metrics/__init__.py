"""Metrics that XGBoost does not have, or not by that name."""
