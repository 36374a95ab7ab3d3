"""A model becomes JSON or UBJSON, read by the xgboost that can, and is proved to predict the same."""
