"""The scan gate: against an ECR on loopback, and against a scripted one for what scans may answer."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import replace

import pytest
import requests

from support.aws import REGION
from support.handmade import HandImage, put, tar
from support.servers import Reply, scripted
from xgbpatch.aws import EcrImages, Vulnerability
from xgbpatch.errors import ScanError
from xgbpatch.progress import Silent
from xgbpatch.publish.scan_gate import BASE_TAG, ScanTimeout, gate, named_base
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import Registry
from xgbpatch.registry.ecr import blob_store_for
from xgbpatch.registry.keychain import Keychain

AT_ONCE = ScanTimeout(5, 0.05)
SHORT = ScanTimeout(0.2, 0.05)
NOW = time.time()


class Lines(Silent):
    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture
def services(ecr, tmp_path):
    keychain = Keychain()
    registry = Registry(keychain)
    return Services(registry, blob_store_for(registry, keychain), tmp_path, Lines())


@pytest.fixture
def layers():
    return tar({"base": secrets.token_bytes(16)}), tar({"patch": secrets.token_bytes(16)})


@pytest.fixture
def base(services, space, layers):
    """In a registry whose scans nobody can read."""
    return put(services, space.reference("sagemaker-xgboost:3.2-0"), HandImage(layers[:1]))


@pytest.fixture
def patched(services, place, layers):
    return put(services, place.with_tag("1.0"), HandImage(layers, labels={"a": "b"}))


def finding(name, package="openssl", version="3.0"):
    attributes = [{"key": "package_name", "value": package}, {"key": "package_version", "value": version}]
    return {"name": name, "severity": "HIGH", "attributes": attributes}


def answer(*findings, status="COMPLETE", completed=NOW, source=NOW, announced=None):
    count = len(findings) if announced is None else announced
    report = {"imageScanCompletedAt": completed, "vulnerabilitySourceUpdatedAt": source, "findings": list(findings),
              "findingSeverityCounts": {"HIGH": count}}  # fmt: skip
    if completed is None:
        del report["imageScanCompletedAt"]
    return {"imageScanStatus": {"status": status, "description": "words"}, "imageScanFindings": report}


def say(ecr, image, *findings):
    """Have ECR find exactly this in the image."""
    result = {**answer(*findings), "repositoryName": image.repository, "imageId": {"imageDigest": image.digest}}
    address = f"{ecr.endpoint}/moto-api/static/ecr/scan-finding-results"
    requests.post(address, json={"results": [result], "region": REGION}, timeout=120).raise_for_status()


def test_image_with_its_bases_findings_passes(services, base, patched):
    gate(services, base, patched, AT_ONCE)  # the endpoint finds the same weakness in every image
    assert any("1 in the base, none added" in line for line in services.progress.lines)


def test_base_is_scanned_under_a_tag_of_its_own_beside_the_image(services, base, patched, layers):
    gate(services, base, patched, AT_ONCE)
    tag = BASE_TAG + base.digest.removeprefix("sha256:")[:12]
    digests = {image.tags: image.digest for image in EcrImages(patched).images()}
    assert set(digests) == {("1.0",), (tag,)}
    twin = services.registry.manifest(patched.with_tag(tag))
    assert services.registry.config(patched, twin)["rootfs"]["diff_ids"] == [layers[0].diff_id]
    assert EcrImages(patched).scan(digests[(tag,)]) is not None


def test_base_that_stands_there_already_is_not_put_again(services, base, patched):
    first = named_base(services, base, patched)
    unreachable = replace(base, host="127.0.0.1:9")  # its own registry is not asked any more
    assert named_base(services, unreachable, patched) == first


def test_finding_that_the_patch_added_fails_and_is_named(ecr, services, base, patched):
    twin = named_base(services, base, patched)
    say(ecr, twin, finding("CVE-1"), finding("CVE-2"))
    say(ecr, patched, finding("CVE-1"), finding("CVE-3", "numpy", "1.0"))  # as many as the base has
    with pytest.raises(ScanError, match=r"added 1 findings.*CVE-3 \(HIGH\) in numpy 1\.0") as caught:
        gate(services, base, patched, AT_ONCE)
    assert "CVE-1" not in caught.value.message
    assert "--no-scan-gate" in caught.value.next_step
    assert caught.value.exit_code == 14


def test_same_weakness_in_another_version_is_added(ecr, services, base, patched):
    twin = named_base(services, base, patched)
    say(ecr, twin, finding("CVE-1", version="3.0"))
    say(ecr, patched, finding("CVE-1", version="2.0"))
    with pytest.raises(ScanError, match=r"openssl 2\.0"):
        gate(services, base, patched, AT_ONCE)


def test_weakness_that_the_patch_took_away_is_fine(ecr, services, base, patched):
    say(ecr, named_base(services, base, patched), finding("CVE-1"), finding("CVE-2"))
    say(ecr, patched, finding("CVE-1"))
    gate(services, base, patched, AT_ONCE)
    assert any("1 findings, 2 in the base" in line for line in services.progress.lines)


def test_image_without_a_base_fails(services, patched):
    with pytest.raises(ScanError, match="names no base in a registry"):
        gate(services, None, patched, AT_ONCE)


def test_image_that_does_not_stand_on_its_base_fails(services, space, patched):
    other = put(services, space.reference("sagemaker-xgboost:other"), HandImage([tar({"other": b"x"})]))
    with pytest.raises(ScanError, match="does not stand on its base"):
        gate(services, other, patched, AT_ONCE)


def test_base_that_cannot_be_read_fails(services, base, patched):
    with pytest.raises(ScanError, match=r"cannot be compared.*does not exist") as caught:
        gate(services, replace(base, digest="sha256:" + "0" * 64), patched, AT_ONCE)
    assert "--no-scan-gate" in caught.value.next_step


def test_registry_outside_ecr_has_no_gate_and_is_told(services, base, space):
    gate(services, base, space.reference("team/model:1").with_digest(base.digest), AT_ONCE)
    assert services.progress.lines == [f'no scans are compared: "{space.host}" is not ECR']


IMAGE = ImageReference.parse(f"123456789012.dkr.ecr.{REGION}.amazonaws.com/team/model:1@sha256:" + "a" * 64)


class Remembered:
    """A registry that holds the base's twin already: only ECR's calls are looked at."""

    def head(self, reference):
        return replace(IMAGE, digest="sha256:" + "b" * 64) if reference.tag.startswith(BASE_TAG) else None


@pytest.fixture
def scripted_gate(aws, monkeypatch, tmp_path):
    """`scripted_gate(answers…)`: what ECR answers, call by call; gives the gate's calls."""

    def run(*replies, patience=AT_ONCE):
        with scripted(*replies) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
            try:
                gate(Services(Remembered(), None, tmp_path, Lines()), IMAGE, IMAGE, patience)
            finally:
                server.calls = [request[2]["X-Amz-Target"].rpartition(".")[2] for request in server.seen]
                run.calls = server.calls

    return run


def ok(*findings, **more):
    return Reply(200, json.dumps(answer(*findings, **more)).encode())


def refusal(code, message="words"):
    return Reply(400, json.dumps({"__type": code, "message": message}).encode())


NO_SCAN, STARTED = refusal("ScanNotFoundException"), Reply(200, b'{"imageScanStatus": {"status": "IN_PROGRESS"}}')
A = finding("CVE-1")


def test_complete_scan_without_findings_is_not_believed_at_once(scripted_gate):
    under_way = ok(A, status="IN_PROGRESS", completed=None)
    with pytest.raises(ScanError, match="CVE-1"):
        scripted_gate(under_way, under_way, ok(), ok(), ok(), ok(A))  # the base twice empty, the image at last not
    assert scripted_gate.calls == ["DescribeImageScanFindings"] * 6


def test_complete_scan_with_fewer_findings_than_counted_is_waited_for(scripted_gate):
    late = ok(announced=3)
    scripted_gate(ok(A), ok(A), late, late, ok(A), ok(A))
    assert len(scripted_gate.calls) == 6


def test_scan_without_a_time_of_completion_is_not_believed(scripted_gate):
    with pytest.raises(ScanError, match=r"no result of scanning.*COMPLETE"):
        scripted_gate(ok(A), ok(A), ok(A, completed=None), patience=SHORT)


def test_old_result_is_scanned_anew_and_waited_for(scripted_gate):
    old, new = ok(A, completed=NOW - 90_000), ok(A)
    scripted_gate(old, STARTED, new, old, new, new)
    assert scripted_gate.calls[:2] == ["DescribeImageScanFindings", "StartImageScan"]
    assert len(scripted_gate.calls) == 6  # the base's old result was looked at once more, and not taken


@pytest.mark.parametrize("code", ["LimitExceededException", "ValidationException"], ids=["scanned today", "enhanced"])
def test_scan_that_ecr_begins_by_itself_is_waited_for(scripted_gate, code):
    scripted_gate(NO_SCAN, refusal(code), NO_SCAN, refusal(code), NO_SCAN, ok(A), ok(A))


def test_scan_that_never_comes_fails_and_says_why_none_was_begun(scripted_gate):
    disabled = refusal("ValidationException", "disabled")
    with pytest.raises(ScanError, match=r"no scan \(StartImageScan: ValidationException: disabled\)") as caught:
        scripted_gate(NO_SCAN, disabled, NO_SCAN, disabled, NO_SCAN, patience=SHORT)
    assert "enhanced scanning" in caught.value.next_step


@pytest.mark.parametrize(
    "replies",
    [
        (NO_SCAN, refusal("UnsupportedImageTypeException")),
        (refusal("AccessDeniedException"),),
        (refusal("ImageNotFoundException"),),
        (ok(A), ok(A), ok(status="UNSUPPORTED_IMAGE")),
        (ok(A), ok(A), ok(status="FAILED")),
    ],
    ids=["unsupported", "denied", "unknown to ECR", "unsupported status", "failed"],
)
def test_scan_that_cannot_be_had_fails_closed_with_the_way_out(scripted_gate, replies):
    with pytest.raises(ScanError) as caught:
        scripted_gate(*replies, patience=SHORT)
    assert "--no-scan-gate" in caught.value.next_step


def test_finding_may_be_due_to_an_older_list_of_weaknesses(scripted_gate):
    base, image = ok(finding("CVE-0"), source=NOW - 7200), ok(A)
    with pytest.raises(ScanError) as caught:
        scripted_gate(base, image, base, image)
    assert "scanned with an older list" in caught.value.next_step


def test_all_pages_and_both_kinds_of_findings_are_read(aws, monkeypatch):
    packages = [{"name": "zlib", "version": "1"}, {"name": "zlib-dev", "version": "2"}]
    details = {"vulnerabilityId": "CVE-9", "vulnerablePackages": packages}
    enhanced = {**answer(announced=3, status="ACTIVE"), "nextToken": "more"}
    enhanced["imageScanFindings"]["enhancedFindings"] = [{"severity": "LOW", "packageVulnerabilityDetails": details}]
    with scripted(Reply(200, json.dumps(enhanced).encode()), ok(A)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        scan = EcrImages(IMAGE).scan(IMAGE.digest)
    assert scan.findings == {
        Vulnerability("CVE-9", "zlib", "1"): "LOW",
        Vulnerability("CVE-9", "zlib-dev", "2"): "LOW",
        Vulnerability("CVE-1", "openssl", "3.0"): "HIGH",
    }
    assert (scan.status, scan.announced) == ("ACTIVE", 3)
