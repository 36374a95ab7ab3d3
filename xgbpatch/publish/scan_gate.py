"""The scan gate: what ECR's scan finds in a patched image and not in its base, the patch has added.

The base stands in AWS's account, whose scans nobody else can read. So its layers, which the repository holds already as
the first layers of the patched image, get a name of their own there (`xgbpatch-base-<12 digits of its digest>`; only
the base's configuration, some kilobytes, has to be brought) and are scanned beside the patched image. Both results are
at most a day old, the time that ECR's basic scanning asks to lie between two scans: against an old result of the base
every weakness that became known since would look like the patch's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from xgbpatch.aws import EcrImages, Scan
from xgbpatch.errors import AwsError, RegistryError, ScanError
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services, copy
from xgbpatch.registry.client import load_image

BASE_TAG = "xgbpatch-base-"
_FRESH = timedelta(hours=24)
_DONE = frozenset({"COMPLETE", "ACTIVE"})  # ACTIVE: enhanced scanning has a result and goes on looking
_UNDER_WAY = frozenset({"PENDING", "IN_PROGRESS"})
_WITHOUT = "--no-scan-gate goes without."


@dataclass(frozen=True)
class ScanTimeout:
    """How long to wait for both scans, and how long between two looks, in seconds; `pause` does the waiting."""

    seconds: float = 300.0
    interval: float = 5.0
    pause: Callable[[float], None] = time.sleep


def gate(
    services: Services, base: ImageReference | None, patched: ImageReference, patience: ScanTimeout = ScanTimeout()
) -> None:
    """Hold the image `patched` (by digest) to its base; for a registry outside ECR nothing is scanned, and said so.

    Raises `ScanError` where the patch added a finding, and where that cannot be told.
    """
    if patched.ecr is None:
        services.progress.line(f'no scans are compared: "{patched.host}" is not ECR')
        return
    if base is None:
        raise ScanError(f'"{patched}" names no base in a registry', f"There is nothing to compare with: {_WITHOUT}")
    try:
        twin = named_base(services, base, patched)
        images = EcrImages(patched)
        services.progress.line(f'waiting for the scans of "{images.place.name}": base and patched image')
        deadline = time.monotonic() + patience.seconds
        waiting = [_Waiting.begun(images, digest) for digest in (twin.digest, patched.digest)]  # ECR scans side by side
        under, over = (each.result(deadline, patience) for each in waiting)
    except (AwsError, RegistryError) as error:  # what hinders the comparison is as bad as a finding
        raise ScanError(
            f'the scans of "{patched}" and its base cannot be compared: {error.message}',
            f"{error.next_step} The image stands under its version tag, no alias moved; {_WITHOUT}".strip(),
        ) from error
    added = sorted(over.findings.keys() - under.findings.keys())  # not by severity, which ECR may change
    if not added:
        services.progress.line(f"scans: {len(over.findings)} findings, {len(under.findings)} in the base, none added")
        return
    names = ", ".join(f"{item.name} ({over.findings[item]}) in {item.package} {item.version}" for item in added)
    age = ""
    if under.source and over.source and under.source < over.source:
        age = f"The base was scanned with an older list ({under.source:%Y-%m-%d %H:%M}): push again in a day. "
    raise ScanError(
        f'the patch added {len(added)} findings to "{patched}": {names}',
        f"{age}See what the spec adds (xgbpatch render), and pin other packages. The image stands under "
        f"its version tag, no alias moved; {_WITHOUT}",
    )


def named_base(services: Services, base: ImageReference, patched: ImageReference) -> ImageReference:
    """The base under its own tag in the repository of `patched`, put there where it is missing."""
    place = patched.with_tag(BASE_TAG + base.digest.removeprefix("sha256:")[:12])
    there = services.registry.head(place)
    if there is not None:
        return place.with_digest(there.digest)
    image = load_image(services.registry, patched)
    below = load_image(services.registry, base, image.architecture or "amd64")
    config, count = below.manifest.config, len(below.diff_ids)
    copy.copy(services.blobs_of(base), services.blobs_of(place), [config], services.progress)
    if not count or image.diff_ids[:count] != below.diff_ids:
        raise ScanError(f'"{image.reference}" does not stand on its base "{below.reference}"', "Build it anew.")
    # over the first layers of the patched image, which may be compressed otherwise than the base's
    document = dict(image.manifest.document)
    document["config"] = {**document["config"], "digest": config.digest, "size": config.size}
    document["layers"] = list(document["layers"])[:count]
    manifest = Manifest(json.dumps(document, indent=3).encode(), image.manifest.media_type)
    return services.registry.put_manifest(place, manifest)


@dataclass(frozen=True)
class _Waiting:
    """For a scan of one image that is newer than `after`; `refused` is why ECR would not begin one."""

    images: EcrImages
    digest: str
    after: datetime | None
    refused: str

    @classmethod
    def begun(cls, images: EcrImages, digest: str) -> _Waiting:
        """Begin a scan where there is no fresh one and none under way."""
        scan = images.scan(digest)
        if scan is not None:
            is_fresh = scan.completed is not None and datetime.now(timezone.utc) - scan.completed < _FRESH
            if is_fresh or scan.status in _UNDER_WAY:
                return cls(images, digest, None, "")
        refused = images.start_scan(digest)
        return cls(images, digest, scan.completed if scan and not refused else None, refused)

    def result(self, deadline: float, patience: ScanTimeout) -> Scan:
        """A scan can be called complete before its findings can be read (aws-sdk issue 289): one that has fewer than
        ECR has counted is looked at again, and one without any is believed the second time."""
        empty_before = False
        while True:
            scan = self.images.scan(self.digest)
            if scan is not None and self._is_settled(scan):
                if scan.findings or empty_before:
                    return scan
                empty_before = True
            if time.monotonic() >= deadline:
                raise self._late(scan, patience)
            patience.pause(patience.interval)

    def _is_settled(self, scan: Scan) -> bool:
        if scan.status not in _DONE | _UNDER_WAY:
            raise ScanError(
                f'ECR did not scan "{self.images.place.name}@{self.digest}": {scan.status}: {scan.description}',
                _WITHOUT,
            )
        if scan.status in _UNDER_WAY or scan.completed is None:
            return False
        return (self.after is None or scan.completed > self.after) and bool(scan.findings or not scan.announced)

    def _late(self, scan: Scan | None, patience: ScanTimeout) -> ScanError:
        image, state = f"{self.images.place.name}@{self.digest}", scan.status if scan else "no scan"
        why = f" (StartImageScan: {self.refused})" if self.refused else ""
        return ScanError(
            f'no result of scanning "{image}" after {patience.seconds:g} s: {state}{why}',
            "Push again, which waits again (--scan-timeout); with enhanced scanning, see that a filter of the registry "
            f"covers the repository; {_WITHOUT}",
        )
