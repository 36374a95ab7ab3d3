"""Algorithm mode: training and serving without user code.

Imported in a gunicorn worker that serves no user module, it loads the model at once: a model that does not load must
stop the worker, not the first request.
"""

import os

from sagemaker_containers.beta.framework import env

from sagemaker_xgboost_container.algorithm_mode import serve

if "gunicorn" in os.environ.get("SERVER_SOFTWARE", "") and env.ServingEnv().module_name is None:
    serve.load_model()
