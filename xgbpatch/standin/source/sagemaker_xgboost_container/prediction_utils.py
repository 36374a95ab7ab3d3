"""Out-of-fold predictions of a k-fold training, written as predictions.csv."""

import os

import numpy as np
from sagemaker_algorithm_toolkit import exceptions as exc

PREDICTIONS_OUTPUT_FILE = "predictions.csv"
EXAMPLE_ROWS_EXCEPTION_COUNT = 10


class ValidationPredictionRecorder:
    """Collects every row's prediction once a round of folds.

    `predictions` are of shape (rows,), or (rows, classes) for probabilities by class. The file has no header; its
    columns are label, probability and predicted class for classification, label and prediction otherwise.
    """

    def __init__(self, y_true, num_cv_round, classification, output_data_dir):
        self.y_true = np.asarray(y_true)
        self.num_cv_round = num_cv_round
        self.classification = classification
        self.output_data_dir = output_data_dir
        self._seen = np.zeros(len(self.y_true), dtype=int)
        self._predictions = None  # (rows, rounds) or (rows, rounds, classes)

    def record(self, indices, predictions):
        """Raises AlgorithmError for a shape unlike the first, or for a row beyond `num_cv_round` predictions."""
        predictions = np.asarray(predictions)
        if self._predictions is None:
            self._predictions = np.zeros((len(self.y_true), self.num_cv_round) + predictions.shape[1:])
        if predictions.shape[1:] != self._predictions.shape[2:]:
            raise exc.AlgorithmError("predictions of shape {} follow others".format(predictions.shape))
        if not self.classification and predictions.ndim > 1:
            raise ValueError("could not store predictions of shape {} in one column".format(predictions.shape))
        self._check_rows(indices, self._seen[indices] >= self.num_cv_round, "too many")
        self._predictions[indices, self._seen[indices]] = predictions
        self._seen[indices] += 1

    def save(self):
        """Raises AlgorithmError where a row lacks predictions."""
        rows = np.arange(len(self.y_true))
        self._check_rows(rows, self._seen < self.num_cv_round, "too few")
        os.makedirs(self.output_data_dir, exist_ok=True)
        columns = np.column_stack([self.y_true] + self._aggregate_predictions())
        path = os.path.join(self.output_data_dir, PREDICTIONS_OUTPUT_FILE)
        np.savetxt(path, columns, delimiter=",", fmt="%f")

    def _check_rows(self, rows, wrong, what):
        if np.any(wrong):
            examples = np.asarray(rows)[wrong][:EXAMPLE_ROWS_EXCEPTION_COUNT].tolist()
            raise exc.AlgorithmError("{} predictions for the rows {}".format(what, examples))

    def _aggregate_predictions(self):
        """Means over the rounds; the class is the one that most rounds voted for, the smaller where they tie."""
        if not self.classification:
            return [self._predictions.mean(axis=1)]
        if self._predictions.ndim == 2:
            return [self._predictions.mean(axis=1), _vote(self._predictions > 0.5)]
        return [self._predictions.max(axis=-1).mean(axis=1), _vote(self._predictions.argmax(axis=-1))]


def _vote(labels):
    return np.array([np.bincount(row).argmax() for row in labels.astype(int)])
