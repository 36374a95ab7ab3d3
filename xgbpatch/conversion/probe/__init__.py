"""What runs on another xgboost, in an environment or a container: text for an interpreter, imported by none."""
