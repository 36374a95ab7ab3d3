"""The variables of a shell that uses a sandbox: what was reached without a proxy stays so, whoever reads which name."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests.utils

from xgbpatch.sandbox import VARIABLES, SandboxState, environment
from xgbpatch.sandbox.state import RegistryHost

NAME = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
OURS = f"127.0.0.1,{NAME}"
STATE = SandboxState("1", Path("/s"), Path("/h"), (RegistryHost(NAME, "127.0.0.2", "1", "us-west-2"),), "http://a")


@pytest.mark.parametrize(
    ("before", "upper", "lower"),
    [
        ({}, OURS, OURS),
        ({"NO_PROXY": "a.example,b.example"}, f"a.example,b.example,{OURS}", f"a.example,b.example,{OURS}"),
        ({"no_proxy": "a.example"}, f"a.example,{OURS}", f"a.example,{OURS}"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, f"a.example,{OURS}", f"b.example,{OURS}"),
        ({"NO_PROXY": "*"}, "*", "*"),
        ({"NO_PROXY": f"{NAME},a.example,127.0.0.1"}, f"{NAME},a.example,127.0.0.1", f"{NAME},a.example,127.0.0.1"),
    ],
    ids=["none", "upper", "lower", "both", "all", "again"],
)
def test_hosts_without_a_proxy_are_kept_and_the_sandbox_s_are_added(monkeypatch, before, upper, lower):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    variables = environment(STATE)
    assert (variables["NO_PROXY"], variables["no_proxy"]) == (upper, lower)
    assert set(variables) == {*VARIABLES, "NO_PROXY", "no_proxy"}
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert requests.utils.get_environ_proxies(f"https://{NAME}/v2/") == {}
