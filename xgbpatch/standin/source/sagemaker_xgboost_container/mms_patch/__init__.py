"""The multi-model path: how the model server is started and how its requests are answered."""
