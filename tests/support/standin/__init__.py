"""Models and probes that run inside a base, and the endpoint that serves them."""
