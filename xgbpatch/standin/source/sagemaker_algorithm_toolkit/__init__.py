"""A stand-in for AWS's package of this name: what an algorithm checks before it trains, and how it says what is wrong."""
