"""The variables that point any AWS client at the sandbox."""

from __future__ import annotations

import os

from xgbpatch.sandbox.state import SandboxState


def environment(state: SandboxState) -> dict[str, str]:
    """What the CLI, boto3, the AWS CLI and requests read. The keys are made up: moto takes any."""
    return {
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_DEFAULT_REGION": state.region,
        "AWS_REGION": state.region,
        "AWS_CA_BUNDLE": str(state.bundle),
        "REQUESTS_CA_BUNDLE": str(state.bundle),
        "NO_PROXY": _past_proxies(state),
    }


def _past_proxies(state: SandboxState) -> str:
    """The hosts to reach without a proxy: those declared already, then the sandbox's."""
    declared = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    ours = ["127.0.0.1", *(registry.host for registry in state.registries)]
    return ",".join(dict.fromkeys([*filter(None, declared.split(",")), *ours]))
