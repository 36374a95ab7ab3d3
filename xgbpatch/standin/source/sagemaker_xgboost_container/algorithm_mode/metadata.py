"""What SageMaker is told about this algorithm when it is registered."""

from sagemaker_algorithm_toolkit import metadata

_INPUT = ["text/csv", "text/libsvm"]
_OUTPUT = ["text/csv"]


def initialize(image_uri, hyperparameters, channels, metrics):
    """The body of CreateAlgorithm. Instance types are a few examples: the stand-in reads no price list."""
    instances = metadata.TRAINING_DEFAULT_INSTANCES
    training = metadata.training_spec(hyperparameters, channels, metrics, image_uri, instances, True)
    return metadata.generate_metadata(
        training, metadata.inference_spec(image_uri, instances, instances, _INPUT, _OUTPUT)
    )
