"""A stand-in for the official SageMaker XGBoost image, for machines without AWS credentials.

Real parts at the base's pins wherever a package registry has them; only AWS's two packages are ours (`source/`).
"""
