"""Names that the container shares with SageMaker and with its clients."""
