"""The input channels that an algorithm takes, and the check of those that a job brings (inputdataconfig.json)."""

from sagemaker_algorithm_toolkit import exceptions as exc

CONTENT_TYPE = "ContentType"
TRAINING_INPUT_MODE = "TrainingInputMode"
S3_DIST_TYPE = "S3DistributionType"


class Channel:
    """A channel and every combination of content type, input mode and distribution that it takes."""

    FILE_MODE = "File"
    PIPE_MODE = "Pipe"
    AUGMENTED_MODE = "Augmented"

    SHARDED = "ShardedByS3Key"
    REPLICATED = "FullyReplicated"

    def __init__(self, name, required):
        self.name = name
        self.required = required
        self.supported = set()

    def add(self, content_type, supported_input_mode, supported_s3_data_distribution_type):
        self.supported.add((content_type, supported_input_mode, supported_s3_data_distribution_type))

    def format(self):
        """This channel as CreateAlgorithm describes one."""
        return {
            "Name": self.name,
            "Description": self.name,
            "IsRequired": self.required,
            "SupportedContentTypes": sorted({content_type for content_type, _, _ in self.supported}),
            "SupportedInputModes": sorted({mode for _, mode, _ in self.supported}),
        }

    def validate(self, value):
        """Raises UserError where `value`, one channel's configuration, is no combination that was added."""
        if _combination(value) not in self.supported:
            raise exc.UserError("Channel '{}' cannot be used with the configuration {}".format(self.name, value))


class Channels:
    """All channels of an algorithm."""

    def __init__(self, *channels):
        self.channels = {channel.name: channel for channel in channels}
        self.default_content_type = None

    def set_default_content_type(self, default_content_type):
        self.default_content_type = default_content_type

    def format(self):
        return [channel.format() for channel in self.channels.values()]

    def validate(self, user_channels):
        """Fills in the default content type; returns `user_channels`; raises UserError on the first fault."""
        for name, channel in self.channels.items():
            if channel.required and name not in user_channels:
                raise exc.UserError("Channel '{}' is required".format(name))
        for name, configuration in user_channels.items():
            if name not in self.channels:
                raise exc.UserError("Extraneous channel found: {}".format(name))
            self._validate(name, configuration)
        return user_channels

    def _validate(self, name, configuration):
        if self.default_content_type:
            configuration.setdefault(CONTENT_TYPE, self.default_content_type)
        self.channels[name].validate(configuration)


def _combination(configuration):
    return tuple(configuration[key] for key in (CONTENT_TYPE, TRAINING_INPUT_MODE, S3_DIST_TYPE))
