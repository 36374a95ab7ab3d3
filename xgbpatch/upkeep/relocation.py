"""A patch carried over to another base: variables and labels as a build on that base would write them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from packaging.utils import canonicalize_name
from packaging.version import Version

from xgbpatch import layout, provenance
from xgbpatch.composition import extended
from xgbpatch.errors import PackageError
from xgbpatch.facts import Facts
from xgbpatch.patch import digest_of
from xgbpatch.provenance import Provenance
from xgbpatch.remote.image import RemoteImage
from xgbpatch.upkeep.claims import Claim


@dataclass(frozen=True)
class Move:
    """An image with its proven base and variables, and the base that it goes to."""

    claim: Claim
    environment: Mapping[str, str]
    base: RemoteImage


def environment(move: Move) -> dict[str, str]:
    """The patch's variables on the new base. What extends one of the base's extends the new base's; a value of the
    user's own stays as it is."""
    old, new = move.claim.base, move.base
    found = dict(move.environment)
    for name, moved in (
        ("PATH", _path(found.get("PATH", ""), old.environment.get("PATH"), new.environment.get("PATH"))),
        ("PYTHONPATH", _imports(found.get("PYTHONPATH", ""), old.environment, new.environment)),
    ):
        if moved is not None:
            found[name] = moved
    if found.get("XGBPATCH_BASE") == str(move.claim.provenance.base):
        found["XGBPATCH_BASE"] = str(new.reference)
    return found


def labels(move: Move, hooks: tuple[str, ...], created: str) -> dict[str, str]:
    """All labels beyond the new base's own: the image's, with what is true of the new base."""
    made, reference = move.claim.provenance, move.base.reference
    files = made.files_digest.removeprefix("sha256:")
    moved = replace(
        made,
        base_name=str(replace(reference, digest="")),
        base_digest=reference.digest,
        patch_digest=f"sha256:{digest_of(files, environment(move))}",
        hooks=hooks,
        created=created,
    )
    written = provenance.write(moved)
    taken = {*written, *move.claim.base.labels}
    others = {name: value for name, value in move.claim.image.labels.items() if name not in taken}
    return {**written, **others}


def mark(digest: str) -> str:
    """How `{base}` of a tag pattern shows a base's digest."""
    return digest.removeprefix("sha256:")[:12]


def check_packages(made: Provenance, facts: Facts) -> None:
    """Raises `PackageError` where the new base has other distributions than those the packages were resolved beside."""
    if not made.packages:
        return
    held = {f"{found.name}=={found.version}" for found in facts.distributions.values()}
    ours = {canonicalize_name(package.partition("==")[0]) for package in made.packages}
    before = {item.partition("==")[0]: item for item in made.base_packages}
    added = {name for name in facts.distributions if name in ours and name not in before}
    moved = sorted({*before.values()} - held) + [f"{name} is new" for name in sorted(added)]
    glibc = made.python.rpartition(" glibc-")[2]
    if glibc and Version(facts.python.glibc or "0") < Version(glibc):
        moved.append(f"glibc {glibc}")
    if moved:
        shown = moved[:10] + ([f"… and {len(moved) - 10} more"] if len(moved) > 10 else [])
        raise PackageError(
            "the packages of the image were resolved beside distributions that the new base has no longer: "
            + ", ".join(shown),
            "Rebuild instead, which resolves them again: xgbpatch build.",
        )


def _path(value: str, old: str | None, new: str | None) -> str | None:
    """`composition` puts our folder first; any other value is the user's."""
    ours = {layout.search_path(old)} if old else {layout.search_path(old), layout.BIN}  # alone, in older images
    return layout.search_path(new) if value in ours else None


def _imports(value: str, old: Mapping[str, str], new: Mapping[str, str]) -> str | None:
    """`composition` puts our folders last; any other value is the user's."""
    before = old.get("PYTHONPATH")
    if before is not None and not value.startswith(f"{before}:"):
        return None
    folders = (value if before is None else value.removeprefix(f"{before}:")).split(":")
    return extended(new.get("PYTHONPATH"), folders) if folders[0] == layout.OVERLAYS else None
