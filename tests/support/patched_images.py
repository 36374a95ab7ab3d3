"""Images by hand that look as if xgbpatch had made them, and models and endpoints of SageMaker that use them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import date, timedelta
from itertools import count

import boto3

from support.aws import REGION
from support.handmade import HandImage, put, sha256, tar
from xgbpatch import provenance
from xgbpatch.patch.compose import digest_of, files_digest_of
from xgbpatch.progress import Silent
from xgbpatch.provenance import Provenance
from xgbpatch.registry import Services
from xgbpatch.registry.blobs import HttpBlobs
from xgbpatch.registry.client import Registry
from xgbpatch.registry.keychain import Keychain
from xgbpatch.spec import DEFAULT_TAG

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
BASE = HandImage([tar({"base": b"x" * 4096})])
MADE = Provenance(
    base_name="", base_digest="sha256:" + "b" * 64, version="3.2-0", tool_version="1", spec_digest="",
    patch_digest="", overlay_digest="", features=("shap",), fixes=(), packages=(),
    created="", image="fraud",
)  # fmt: skip


def depot_of_user(folder):
    """Blobs go in by HTTP, which is faster here than by ECR's own calls."""
    registry = Registry(Keychain())
    return Services(registry, lambda reference: HttpBlobs(reference, registry.session), folder, Silent())


_DAYS = count(1)  # every image is made a day after the one before


def patched(services, place, day=None, tag=DEFAULT_TAG, base=BASE, **changes):
    """An image under its version tag, made on that day of this millennium; on `base`, which stands beside it unless
    the labels name another."""
    if "base_digest" not in changes:
        name = replace(place, repository="bases/xgboost", tag="3.2-0", digest="")
        changes = {"base_name": str(name), "base_digest": put(services, name, base).digest, **changes}
    digest = f"sha256:{secrets.token_hex(32)}"
    moment = date(2001, 1, 1) + timedelta(day or next(_DAYS))
    content = secrets.token_bytes(1024)
    files = files_digest_of([("/opt/xgbpatch/own", False, sha256(content).removeprefix("sha256:"))])
    own = {"files_digest": f"sha256:{files}", "patch_digest": f"sha256:{digest_of(files, {})}"}
    origin = replace(MADE, **{"spec_digest": digest, "created": f"{moment.isoformat()}T10:00:00Z", **own, **changes})
    name = tag.format(version=origin.version, base=origin.base_digest[7:19], spec=digest[7:15])
    layers = (*base.layers, tar({"opt/xgbpatch/own": content}))
    image = HandImage(layers, labels=provenance.write(origin), architecture=base.architecture)
    return put(services, place.with_tag(name), image)


def also(services, image, tag):
    """Put a further tag on the image."""
    services.registry.put_manifest(image.with_tag(tag), services.registry.manifest(image))


def model(name, *images, region=REGION, **more):
    containers = [{"Image": str(image), "ModelDataUrl": "s3://bucket/model.tar.gz"} for image in images]
    what = {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": containers}
    boto3.client("sagemaker", region).create_model(ModelName=name, ExecutionRoleArn=ROLE, **what, **more)


def endpoint(name, *models):
    client = boto3.client("sagemaker", REGION)
    variants = [
        {"VariantName": f"v{number}", "ModelName": one, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2,
         "InitialVariantWeight": 1.0}
        for number, one in enumerate(models)
    ]  # fmt: skip
    client.create_endpoint_config(EndpointConfigName=f"{name}-config", ProductionVariants=variants)
    client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-config")
