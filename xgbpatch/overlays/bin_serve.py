"""`serve`, first on PATH in the image; the build puts the base's interpreter into a first line.

It starts servers and never predicts: the modules of their workers are not imported, nor xgboost because of us.
"""

import os
import sys
from typing import Any

from sagemaker_containers.beta.framework import env
from sagemaker_xgboost_container import serving, serving_mms
from xgbpatch_overlays import fixes, settings

HANDLER = "xgbpatch_overlays.handler"


def main() -> Any:
    """The base's command, with our handler where a feature is on in a multi-model endpoint."""
    try:
        config = settings.read(os.environ)
    except settings.SettingsError as error:
        sys.exit(str(error))
    fixes.install(config.fixes, fixes.COMMAND)
    ours = config.active or config.fixes or config.guarded
    if ours and serving.is_multi_model() and env.ServingEnv().module_name is None:
        serving_mms.ALGO_HANDLER_SERVICE = HANDLER
    if config.fast:
        from xgbpatch_overlays.fast import command  # an image without the feature never loads it

        command.install()
    return serving.serving_entrypoint()


if __name__ == "__main__":
    sys.exit(main())
