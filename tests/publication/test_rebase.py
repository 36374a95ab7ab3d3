"""A published image on a new base, without an engine: byte for byte what a build would make, or refused with the clause."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from handmade import HandImage, depot_on, put, tar
from handmade_bases import HandBase
from publication_parts import registry, xgbpatch

from xgbpatch import provenance
from xgbpatch.errors import ConfigurationError, ContractError, DriftError, PackageError, RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.remote import assembly
from xgbpatch.remote.image import load
from xgbpatch.resolution import Base
from xgbpatch.spec import Architecture, Replacement, Spec, UserFile
from xgbpatch.upkeep import rebasing
from xgbpatch.upkeep.rebasing import Wish

OLD = HandBase()
NEW = HandBase(
    patches="-fixed",
    labels={"maintainer": "AWS", "month": "november"},
    environment={"PATH": "/opt/python/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C", "PYTHONPATH": "/opt/ml/code"},
)
SERVING = "sagemaker_xgboost_container/serving.py"


@pytest.fixture(scope="module")
def loopback(tmp_path_factory):
    """One registry for all; each test has repositories of its own."""
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What was inspected once need not be inspected again: the layers are the same from test to test."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def depot(cache):
    return depot_on(cache)


@pytest.fixture
def shop(loopback, depot):
    return Shop(depot, loopback.reference(f"r/{secrets.token_hex(4)}"))


class Shop:
    """A repository of bases and one of patched images."""

    def __init__(self, depot, place):
        self.depot = depot
        self.bases = replace(place, repository=f"{place.repository}/base", tag="3.2-0")
        self.images = replace(place, repository=f"{place.repository}/image")

    def publish(self, base):
        """AWS moves its tag."""
        return put(self.depot, self.bases, base.image)

    def build(self, base, depot=None, **asked):
        """What `build --builder registry` makes of the spec on the base."""
        depot = depot or self.depot
        spec = Spec(version="3.2-0", region="us-west-2", base_image=self.bases, **{"features": ("shap",), **asked})
        made = assembly.render(depot, spec, Base(base, "3.2-0", Architecture.AMD64))
        return assembly.assemble(depot, made, self.images.with_tag(made.reference.tag)).reference

    def rebase(self, image, **wish):
        return rebasing.rebase(wish.pop("depot", self.depot), Wish(image, **wish))

    def relabel(self, image, change):
        """The image with its configuration changed by hand."""
        found = load(self.depot.registry, image)
        document = json.loads(json.dumps(found.config))
        change(document)
        return self.reput(found, document, found.layers)

    def reput(self, found, document, layers):
        import io

        from xgbpatch.manifest import DOCKER_CONFIG, Descriptor, digest_of
        from xgbpatch.progress import Silent
        from xgbpatch.remote import config, transfer

        content = json.dumps(document).encode()
        described = Descriptor(digest_of(content), DOCKER_CONFIG, len(content))
        transfer.put(self.depot.blobs_of(self.images), io.BytesIO(content), described, Silent())
        empty = replace(found.manifest, content=json.dumps({**found.manifest.document, "layers": []}).encode())
        manifest = config.manifest(empty, described, layers)
        return self.depot.registry.put_manifest(found.reference.with_tag(found.reference.tag), manifest)


def spec_of_everything(folder):
    """A file, a replaced module, variables: one that only the user knows, one over the base's."""
    module = folder / "data_utils.py"
    source = HandBase()
    from handmade_bases import _modules

    text = _modules()["sagemaker_xgboost_container/data_utils.py"]
    module.write_text(text + "\n# changed\n")
    (folder / "mine.py").write_text("mine = 1\n")
    import hashlib

    assert source
    return {
        "files": (UserFile(folder / "mine.py", "mine.py"),),
        "replacements": (
            Replacement(
                "sagemaker_xgboost_container.data_utils", module, hashlib.sha256(text.encode()).hexdigest()
            ),
        ),
        "features": ("shap", "training"),
        "fixes": ("ensemble_vote",),
        "environment": (("MINE", "1"), ("LANG", "de_DE.UTF-8")),
    }


@pytest.mark.parametrize("moment", [None, datetime(2026, 11, 21, tzinfo=timezone.utc)], ids=["base's", "epoch"])
def test_the_result_is_byte_for_byte_a_build_on_the_new_base(shop, tmp_path, moment):
    depot = replace(shop.depot, moment=moment)
    asked = spec_of_everything(tmp_path)
    image = shop.build(shop.publish(OLD), depot, **asked)
    base = shop.publish(NEW)
    rebased = shop.rebase(image, depot=depot)
    assert (rebased.base, rebased.up_to_date, rebased.accepted) == (base, False, ())
    elsewhere = replace(shop, images=replace(shop.images, repository="else/where")) if False else None
    assert elsewhere is None
    assert shop.build(base, depot, **asked) == rebased.reference
