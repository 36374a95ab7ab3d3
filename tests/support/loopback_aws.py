"""The AWS on loopback of these tests."""

REGION = "ap-northeast-1"  # not one of the default sandbox's, which may be running beside this one
ACCOUNT = "210987654321"
