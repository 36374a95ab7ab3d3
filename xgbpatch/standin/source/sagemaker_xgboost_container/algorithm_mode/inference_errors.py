"""What can go wrong with one multi-model request, each with its HTTP status."""

from http import client

from sagemaker_inference import errors


class NoContentInferenceError(errors.BaseInferenceToolkitError):
    """The request had no body."""

    def __init__(self):
        super().__init__(client.NO_CONTENT, "", "")


class UnsupportedMediaTypeInferenceError(errors.BaseInferenceToolkitError):
    """The body is of an unknown type, or does not read as the type it is said to be."""

    def __init__(self, message):
        super().__init__(client.UNSUPPORTED_MEDIA_TYPE, message, message)


class ModelLoadInferenceError(errors.BaseInferenceToolkitError):
    """The model directory holds no model that loads."""

    def __init__(self, message):
        message = "Unable to load model: {}".format(message)
        super().__init__(client.INTERNAL_SERVER_ERROR, message, message)


class BadRequestInferenceError(errors.BaseInferenceToolkitError):
    """The model cannot predict what was sent."""

    def __init__(self, message):
        super().__init__(client.BAD_REQUEST, message, message)
