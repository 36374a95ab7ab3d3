"""The account and the region of the tests on moto."""

REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's own
