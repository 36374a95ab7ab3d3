"""The features `shap` and `shap-probability`: what is asked, how it is computed, and how it is answered."""
