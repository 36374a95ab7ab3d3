"""A multi-model request, its body left as bytes: the toolkit's transformer would decode CSV to text."""

import logging
from http import client

from sagemaker_inference import content_types, utils
from sagemaker_inference.errors import BaseInferenceToolkitError
from sagemaker_inference.transformer import Transformer


class XGBMMSTransformer(Transformer):
    """The toolkit's transformer for algorithm mode."""

    def transform(self, data, context):
        """`[response]` for the first request of the batch.

        An error should set its status on `context`. As in the image it is handed over in the order of an old toolkit,
        which the installed one does not understand: that raises, and the model server answers 503.
        """
        try:
            return [self._respond(data[0].get("body"), context)]
        except BaseInferenceToolkitError as e:
            logging.exception(e)
            return self.handle_error(context, e.status_code, e.message)
        except Exception as e:
            logging.exception(e)
            return self.handle_error(context, client.INTERNAL_SERVER_ERROR, str(e))

    def _respond(self, body, context):
        self.validate_and_initialize(model_dir=context.system_properties.get("model_dir"))
        headers = context.request_processor[0].get_request_properties()
        accept = headers.get("Accept") or headers.get("accept")
        if not accept or accept == content_types.ANY:
            accept = self._environment.default_accept
        content_type = utils.retrieve_content_type_header(headers)
        response = self._transform_fn(self._model, body, content_type, accept)
        if isinstance(response, tuple):
            response, accept = response
        context.set_response_content_type(0, accept)
        return response
