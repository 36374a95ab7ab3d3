"""How AWS is asked: the session of a region, and every failure of boto3 as an `AwsError` with its next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from xgbpatch.errors import AwsError

if TYPE_CHECKING:
    import boto3
    from botocore.loaders import Loader

_CONFIGURE = "Run `aws configure` or `aws sso login`, set AWS_PROFILE, or give this machine a role."
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_NEXT_STEPS = {
    "ExpiredToken": "The session has ended: run `aws sso login`, or get new credentials.",
    "ExpiredTokenException": "The session has ended: run `aws sso login`, or get new credentials.",
    "InvalidClientTokenId": f"AWS does not know this access key, or the region is not enabled. {_CONFIGURE}",
    "UnrecognizedClientException": f"AWS does not know this access key, or the region is not enabled. {_CONFIGURE}",
    "InvalidSignatureException": "Check the secret key, and this machine's clock (`xgbpatch doctor`).",
    "SignatureDoesNotMatch": "Check the secret key, and this machine's clock (`xgbpatch doctor`).",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "ThrottlingException": "AWS slows this account down: try again in a minute.",
    "LimitExceededException": "Ask AWS to raise the quota of ECR repositories, or delete some.",
    "RepositoryNotFoundException": "Create the repository, or check its name, the account and the region.",
    "KmsException": "ECR needs kms:CreateGrant and kms:DescribeKey on that key, in the same region.",
    "NoSuchBucket": "Check the bucket's name and the account; create it where it is missing.",
    "PreconditionFailed": "The object was replaced while it was read: run the command again.",
    "ResourceInUse": "A run of the same command has made it: wait for that.",
    "ResourceLimitExceeded": "Ask AWS to raise the quota of instances for transform jobs, or ask for fewer.",
    "InvalidParameterException": "Correct the repository's name, tags or key.",
}


def session(region: str) -> boto3.Session:
    """With the credentials that boto3 finds: the environment, the profile, SSO, the machine's role."""
    import boto3
    import botocore.session

    core = botocore.session.get_session()
    core.register_component("data_loader", data_loader())
    return boto3.Session(region_name=region, botocore_session=core)


@cache
def data_loader() -> Loader:
    """What reads botocore's service models: one a process, because it keeps them, and reading them takes longer than
    most calls do."""
    import botocore.session

    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader


def client_config() -> Any:
    """Standard retries, short time-outs, and our name in AWS's logs."""
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": 4}
    return Config(retries=retries, connect_timeout=10, read_timeout=30, user_agent_extra="xgbpatch")


@contextmanager
def translated(action: str, resource: str) -> Iterator[None]:
    """Turn every failure of boto3 into an `AwsError` that names the IAM action, the resource and the next step."""
    from botocore import exceptions

    unidentified = (
        exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound, exceptions.TokenRetrievalError, exceptions.SSOError,
    )  # fmt: skip
    try:
        yield
    except exceptions.ClientError as error:
        reason, words = code(error), error.response.get("Error", {}).get("Message", "")
        step = _NEXT_STEPS.get(reason, "")
        if is_denial(error):
            step = f'Allow "{action}" for this identity; `aws sts get-caller-identity` shows which one it is.'
        raise AwsError(f'AWS refused "{action}" on "{resource}": {reason}: {words}', step) from error
    except unidentified as error:
        raise AwsError(f'no AWS credentials for "{action}": {error}', _CONFIGURE) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        step = "Is the region's name right, and does this machine reach AWS (proxy, AWS_CA_BUNDLE, AWS_ENDPOINT_URL)?"
        raise AwsError(f'AWS did not answer "{action}" on "{resource}": {error}', step) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise AwsError(f'"{action}" on "{resource}" could not be asked: {error}', _CONFIGURE) from error


def is_denial(error: Any) -> bool:
    """Whether a client error says that this identity may not, as opposed to one that AWS does not take for anybody."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return code(error) in _DENIED or (status == 403 and code(error) not in _NEXT_STEPS)


def code(error: Any) -> str:
    """AWS's name of a client error."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))
