"""xgbpatch extends AWS's official SageMaker XGBoost container without rebuilding it."""
