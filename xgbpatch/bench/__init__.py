"""What requests to an image cost, measured side by side."""
