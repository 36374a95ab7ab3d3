"""The sources of the native library that the overlays load: SHAP values, predictions and numbers as text, in C."""
