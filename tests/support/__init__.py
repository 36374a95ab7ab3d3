"""What the tests share and is no test."""
