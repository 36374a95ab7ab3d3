"""A model as it is loaded: its booster as a document and as trees, and the files beside it."""
