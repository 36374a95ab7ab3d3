"""Who has to act on a failure: the user, the author of the algorithm, or the platform."""


class BaseToolkitError(Exception):
    """Made from a message, from the exception that caused it, or from both; `message` is the resulting text."""

    def __init__(self, message=None, caused_by=None):
        self.message = _describe(message, caused_by)
        self.caused_by = caused_by
        super().__init__(self.message)


class AlgorithmError(BaseToolkitError):
    """A fault of the algorithm."""


class UserError(BaseToolkitError):
    """The user's data or configuration has to change."""


class PlatformError(BaseToolkitError):
    """The platform did not keep its part."""


def _describe(message, caused_by):
    text = message or (str(caused_by) if caused_by else "unknown error occurred")
    return "{} (caused by {})".format(text, type(caused_by).__name__) if caused_by else text
