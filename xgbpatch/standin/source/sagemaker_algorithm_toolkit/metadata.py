"""What SageMaker's CreateAlgorithm is told about an algorithm.

The stand-in asks AWS for no price list, so the instance types are the caller's to name.
"""

TRAINING_DEFAULT_INSTANCES = ["ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge", "ml.m5.4xlarge"]


def training_spec(
    hyperparameters, channels, metrics, image_uri, supported_training_instance_types, supports_distributed_training
):
    """The TrainingSpecification of three validated values: Hyperparameters, Channels and Metrics."""
    return {
        "TrainingImage": image_uri,
        "TrainingChannels": channels.format(),
        "SupportedHyperParameters": hyperparameters.format(),
        "SupportedTrainingInstanceTypes": supported_training_instance_types,
        "SupportsDistributedTraining": supports_distributed_training,
        "MetricDefinitions": metrics.format_definitions(),
        "SupportedTuningJobObjectiveMetrics": metrics.format_tunable(),
    }


def inference_spec(
    image_uri,
    supported_realtime_inference_instance_types,
    supported_transform_inference_instance_types,
    supported_content_types,
    supported_response_mimetypes,
):
    """The InferenceSpecification of one container."""
    return {
        "Containers": [{"Image": image_uri}],
        "SupportedTransformInstanceTypes": supported_transform_inference_instance_types,
        "SupportedRealtimeInferenceInstanceTypes": supported_realtime_inference_instance_types,
        "SupportedContentTypes": supported_content_types,
        "SupportedResponseMIMETypes": supported_response_mimetypes,
    }


def generate_metadata(training_spec, inference_spec):
    return {"TrainingSpecification": training_spec, "InferenceSpecification": inference_spec}
