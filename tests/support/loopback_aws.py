"""The AWS on loopback of these tests."""

from support.sandbox.regions import lease

(REGION,) = lease(1)
ACCOUNT = "210987654321"
