"""Many clients at once, and requests that break the protocol."""
