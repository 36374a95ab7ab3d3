"""The feature `training`: files beside the model, and metrics of the user's own."""
