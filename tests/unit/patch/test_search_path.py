"""PATH of a patched image: our folder first, then the base's own PATH."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from xgbpatch import layout
from xgbpatch.build.ownership import OwnedImage
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import DOCKER_MANIFEST, Manifest
from xgbpatch.patch.compose import compose
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec
from xgbpatch.upkeep import rebase

ENGINES_OWN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # moby, oci/defaults.go
OURS = layout.BIN


def composed(environment):
    python = PythonFacts("3.12.1", "/p/bin/python", "/p", "/s", "x86_64", "2.34")
    facts = Facts("sha256:0", python, {}, {}, frozenset(), {}, environment, {})
    spec = Spec(version="3.2-0", region="us-west-2", fixes=("mme-errors",))
    return compose(spec, facts).environment["PATH"]


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        pytest.param({"PATH": "/p/bin:/bin"}, f"{OURS}:/p/bin:/bin", id="the base's"),
        pytest.param({}, f"{OURS}:{ENGINES_OWN}", id="none"),
        pytest.param({"PATH": ""}, f"{OURS}:{ENGINES_OWN}", id="empty"),
    ],
)
def test_the_bases_commands_are_found_after_ours(environment, path):
    assert composed(environment) == path


def base(path):
    reference = ImageReference.parse(f"registry.example/base:1@sha256:{'a' * 64}")
    env = [] if path is None else [f"PATH={path}"]
    return RemoteImage(reference, Manifest(json.dumps({}).encode(), DOCKER_MANIFEST), {"config": {"Env": env}})


MADE = Provenance("registry.example/base:1", f"sha256:{'a' * 64}", "3.2-0", "1", "", "", "", (), (), (), "")


@pytest.mark.parametrize(
    ("value", "old", "new", "moved"),
    [
        pytest.param(f"{OURS}:/a", "/a", "/b", f"{OURS}:/b", id="both have one"),
        pytest.param(f"{OURS}:{ENGINES_OWN}", None, "/b", f"{OURS}:/b", id="the new base has one"),
        pytest.param(OURS, None, "/b", f"{OURS}:/b", id="an older xgbpatch left the engine's out"),
        pytest.param(OURS, None, None, f"{OURS}:{ENGINES_OWN}", id="so it did, and none has one"),
        pytest.param(f"{OURS}:/a", "/a", None, f"{OURS}:{ENGINES_OWN}", id="the old base has one"),
        pytest.param("/mine", "/a", "/b", "/mine", id="the user's own"),
    ],
)
def test_a_rebase_puts_our_folder_before_the_new_bases(value, old, new, moved):
    claim = OwnedImage(base(old), base(old), replace(MADE))
    assert rebase.moved_environment(claim, {"PATH": value}, base(new))["PATH"] == moved
