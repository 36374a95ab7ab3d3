"""The base's servers in this process, hooked as an environment asks; leaving the stage puts every name back."""

import logging
import os
import shutil

from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import settings

from support.overlays import zoo

FEATURES = {"XGBPATCH_FEATURES": "shap,daal4py"}
SHAP = dict(FEATURES, XGBPATCH_SHAP_LAYOUT="append")
NAMES = (
    (serve_utils, ("predict", "get_loaded_booster", "parse_content_data", "xgb")),
    (serve_utils, ("SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_BATCH")),
    (encoder, ("xgb",)),
    (serve, ("SAGEMAKER_BATCH", "_handle_selectable_inference_response")),
    (serve.ScoringService, ("MODEL_PATH", "booster", "format", "config_json", "objective")),
)


class Endpoint:
    """A started server; `post` returns Flask's response."""

    def __init__(self, client):
        self.client = client

    def post(self, body, accept="text/csv", content_type="text/csv", **headers):
        all_headers = dict({"Accept": accept}, **headers)
        return self.client.post("/invocations", data=body, headers=all_headers, content_type=content_type)

    def ping(self):
        return self.client.get("/ping")


class Stage:
    """Holds the base's names as they were found."""

    def __init__(self, folder):
        self._folder = folder
        self._count = 0

    def __enter__(self):
        self._names = [(owner, name, getattr(owner, name)) for owner, names in NAMES for name in names]
        self._views = dict(serve.ScoringService.app.view_functions)
        self._environment = dict(os.environ)
        return self

    def __exit__(self, *_):
        self._restore()

    def start(self, *specimens, **environment):
        """Serve the models of zoo names (several: an ensemble) or paths, in a fresh state."""
        self._restore()
        os.environ.update(environment)
        serve.ScoringService.MODEL_PATH = str(self._models(specimens))
        serve.SAGEMAKER_BATCH = serve_utils.SAGEMAKER_BATCH = environment.get("SAGEMAKER_BATCH")
        serve_utils.SAGEMAKER_INFERENCE_OUTPUT = environment.get("SAGEMAKER_INFERENCE_OUTPUT")
        for name in ("booster", "format", "config_json", "objective"):
            setattr(serve.ScoringService, name, None)
        config = settings.read(environment)
        if config.active:
            from xgbpatch_overlays import single_model

            single_model.install(config)
        serve.load_model()
        return Endpoint(serve.ScoringService.app.test_client())

    def _models(self, specimens):
        self._count += 1
        folder = self._folder / f"model-{self._count}"
        folder.mkdir()
        for number, specimen in enumerate(specimens):
            name = f"xgboost-model-{number}"
            if isinstance(specimen, str):
                zoo.save(zoo.ZOO[specimen], folder, name)
            else:
                shutil.copy(str(specimen), str(folder / name))
        return folder

    def _restore(self):
        for owner, name, value in self._names:
            setattr(owner, name, value)
        serve.ScoringService.app.view_functions.update(self._views)
        os.environ.clear()
        os.environ.update(self._environment)
        logging.getLogger().setLevel(logging.WARNING)
