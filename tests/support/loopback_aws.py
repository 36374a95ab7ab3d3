"""The AWS on loopback of these tests."""

from support.bases import RUN_ID
from support.sandbox.regions import lease

(REGION,) = lease(1)
ACCOUNT = "210987654321"
# Another run on the same engine has its own.
PIPELINE_REPOSITORY = f"pipeline-{RUN_ID}/sagemaker-xgboost"
PAGES_REPOSITORY = f"pages-{RUN_ID}/sagemaker-xgboost"  # where a page of the documentation names none
UPKEEP_REPOSITORY = f"upkeep-{RUN_ID}/fraud"
