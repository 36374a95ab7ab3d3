"""The channels of algorithm mode: train, validation and code."""

from sagemaker_algorithm_toolkit import channel_validation as cv

from sagemaker_xgboost_container.constants.xgb_constants import TRAIN_CHANNEL, VAL_CHANNEL
from sagemaker_xgboost_container.data_utils import VALID_CONTENT_TYPES, VALID_PIPED_CONTENT_TYPES

_DEFAULT = "text/libsvm"
_CODE = "text/python"


def initialize():
    """Every format in File mode, all but LibSVM in Pipe mode; sharded or replicated."""
    data = [cv.Channel(TRAIN_CHANNEL, required=True), cv.Channel(VAL_CHANNEL, required=False)]
    code = cv.Channel("code", required=False)
    for distribution in (cv.Channel.REPLICATED, cv.Channel.SHARDED):
        code.add(_CODE, cv.Channel.FILE_MODE, distribution)
        for channel in data:
            _add_formats(channel, distribution)
    channels = cv.Channels(*data, code)
    channels.set_default_content_type(_DEFAULT)
    return channels


def _add_formats(channel, distribution):
    for content_type in VALID_CONTENT_TYPES:
        channel.add(content_type, cv.Channel.FILE_MODE, distribution)
    for content_type in VALID_PIPED_CONTENT_TYPES:
        channel.add(content_type, cv.Channel.PIPE_MODE, distribution)
