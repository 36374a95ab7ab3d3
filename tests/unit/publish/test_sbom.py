"""The bill of materials: what the patch added and nothing of the base, valid by CycloneDX's schema, reproducible."""

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from xgbpatch.build.definition import ImageDefinition, define
from xgbpatch.build.resolve import Base
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts, UpstreamModule
from xgbpatch.patch.packages import Pin
from xgbpatch.progress import Silent
from xgbpatch.publish import sbom
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture, Replacement, Spec, UserFile

DIGEST = "sha256:" + "ab" * 32
HOST = "246618743249.dkr.ecr.us-west-2.amazonaws.com"
SITE = "/miniconda3/lib/python3.12/site-packages"
UPSTREAM = b"def decode():\n    return 1\n"
MODULE = UpstreamModule(f"{SITE}/base_package/encoder.py", hashlib.sha256(UPSTREAM).hexdigest(), UPSTREAM.decode())
FACTS = Facts(
    digest=DIGEST,
    python=PythonFacts("3.12.8", "/miniconda3/bin/python", "/miniconda3", SITE, "x86_64", "2.34"),
    distributions={"xgboost": Distribution("xgboost", "3.0.2")},
    modules={"base_package.encoder": MODULE},
    top_levels=frozenset({"base_package"}),
    commands={},
    environment={"PATH": "/usr/bin"},
    labels={},
)
PINS = (
    Pin("category-encoders", "2.8.1", "category_encoders-2.8.1-py3-none-any.whl", "https://index.example/c", "c1" * 32),
    Pin("patsy", "1.0.1", "patsy-1.0.1-py2.py3-none-any.whl", "https://someone:secret@index.example/p", "d2" * 32),
)


@pytest.fixture
def image_definition(tmp_path) -> ImageDefinition:
    file, encoder = tmp_path / "mine.py", tmp_path / "encoder.py"
    file.write_text("PASSPHRASE = 'open sesame'\n")
    encoder.write_text("def decode():\n    return 2\n")
    spec = Spec(
        version="3.2-0",
        region="us-west-2",
        fixes=("libsvm-skew",),
        files=(UserFile(file, "mypackage/mine.py"),),
        replacements=(Replacement("base_package.encoder", encoder, MODULE.sha256),),
    )
    reference = ImageReference(HOST, "sagemaker-xgboost", "3.2-0", DIGEST)
    base = Base(reference, "3.2-0", Architecture.AMD64)
    moment = datetime(2026, 11, 21, 12, 30, tzinfo=timezone.utc)
    return replace(define(spec, base, FACTS, cache=tmp_path / "cache", progress=Silent(), created=moment), pins=PINS)


def complaint(text):
    """What CycloneDX's own schema has against a document; imported here, for it takes seconds of whoever collects."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


def components(image_definition):
    return {entry["name"]: entry for entry in json.loads(sbom.document(image_definition))["components"]}


def digest_in(entry):
    (checksum,) = entry["hashes"]
    assert checksum["alg"] == "SHA-256"
    return checksum["content"]


def properties(entry):
    return {item["name"].removeprefix("io.xgbpatch."): item["value"] for item in entry["properties"]}


def test_the_document_is_valid_cyclonedx(image_definition):
    text = sbom.document(image_definition).decode()
    assert complaint(text) is None
    broken = text.replace('"type": "library"', '"type": "librarian"')
    assert complaint(broken) is not None
    assert json.loads(text)["specVersion"] == sbom.SPECIFICATION


def test_it_lists_what_the_patch_added_and_nothing_of_the_base(image_definition):
    kinds = {name: properties(entry)["kind"] for name, entry in components(image_definition).items()}
    assert kinds == {
        "xgbpatch-overlays": "overlay",
        "category-encoders": "package",
        "patsy": "package",
        "mypackage/mine.py": "file",
        "base_package.encoder.py": "replacement",
    }


def test_packages_carry_their_purl_and_the_hash_of_the_wheel(image_definition):
    entry = components(image_definition)["patsy"]
    assert (entry["purl"], digest_in(entry)) == ("pkg:pypi/patsy@1.0.1", "d2" * 32)
    assert properties(entry)["wheel"] == "patsy-1.0.1-py2.py3-none-any.whl"


def test_an_index_with_a_password_does_not_show(image_definition):
    assert b"secret" not in sbom.document(image_definition)


def test_the_users_files_are_hashes_and_never_content(image_definition):
    written = {file.target: file.sha256 for file in image_definition.patch.files}
    parts = components(image_definition)
    assert digest_in(parts["mypackage/mine.py"]) == written["/opt/xgbpatch/user/mypackage/mine.py"]
    assert digest_in(parts["base_package.encoder.py"]) == written["/opt/xgbpatch/replacements/base_package.encoder.py"]
    assert b"sesame" not in sbom.document(image_definition)


def test_the_overlay_has_the_version_and_digest_of_the_tool(image_definition):
    entry = components(image_definition)["xgbpatch-overlays"]
    assert entry["version"] == image_definition.provenance.tool_version
    assert f"sha256:{digest_in(entry)}" == image_definition.provenance.overlay_digest


def test_the_base_is_named_by_digest_and_marked_as_not_described(image_definition):
    metadata = json.loads(sbom.document(image_definition))["metadata"]
    image = metadata["component"]
    assert (image["name"], image["version"]) == (image_definition.reference.repository, image_definition.reference.tag)
    (base,) = image["pedigree"]["ancestors"]
    assert base["purl"].startswith("pkg:oci/sagemaker-xgboost@sha256:" + "ab" * 32)
    assert properties(base)["described"] == "false"
    assert metadata["timestamp"].startswith("2026-11-21T12:30:00")


def test_the_image_depends_on_all_of_it(image_definition):
    document = json.loads(sbom.document(image_definition))
    edges = {edge["ref"]: set(edge.get("dependsOn", ())) for edge in document["dependencies"]}
    assert edges["image"] == {entry["bom-ref"] for entry in document["components"]}


def test_equal_designs_give_equal_bytes_and_another_patch_another_serial_number(image_definition):
    assert sbom.document(image_definition) == sbom.document(replace(image_definition, pins=tuple(reversed(PINS))))
    other = replace(
        image_definition, provenance=replace(image_definition.provenance, patch_digest="sha256:" + "0" * 64)
    )
    assert (
        json.loads(sbom.document(other))["serialNumber"] != json.loads(sbom.document(image_definition))["serialNumber"]
    )


def test_a_base_that_only_the_engine_knows_is_named_too(image_definition):
    local = replace(
        image_definition, base=replace(image_definition.base, reference=ImageReference("", "stand-in", "3.2-0"))
    )
    text = sbom.document(local).decode()
    assert complaint(text) is None
    assert json.loads(text)["metadata"]["component"]["pedigree"]["ancestors"][0]["purl"] == "pkg:oci/stand-in?tag=3.2-0"
