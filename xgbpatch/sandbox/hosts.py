"""ECR's host names on loopback: a block of /etc/hosts, and the authority that the engine trusts for them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from xgbpatch.errors import SandboxError
from xgbpatch.hostnames import commands, owners
from xgbpatch.sandbox.state import Journal, RegistryHost, SandboxState
from xgbpatch.util import locked_path

_JOINED = " (the line above had no end)"


def add_block(text: str, mark: Path, registries: Sequence[RegistryHost]) -> str:
    """`text` with the block of sandbox `mark` at its end; `remove_block` gives `text` back."""
    joined = bool(text) and not text.endswith("\n")
    begin = _begin(mark) + (_JOINED if joined else "")
    block = "\n".join([begin, *_lines(registries), _end(mark), ""])
    return text + ("\n" if joined else "") + block


def remove_block(text: str, mark: Path) -> str:
    """`text` without the block of sandbox `mark`; raises `SandboxError` when its end mark is gone.

    A newline that the block had added to the line above goes too, unless lines now follow that need it.
    """
    begin = re.escape(_begin(mark))
    joined = rf"\n{begin}{re.escape(_JOINED)}"
    block = rf"(?:(?P<joined>{joined})|^{begin})\n(?:.*\n)*?{re.escape(_end(mark))}\n(?P<last>\Z)?"
    rest = re.sub(block, lambda match: "\n" if match["joined"] and match["last"] is None else "", text, flags=re.M)
    if re.search(begin, rest):
        raise SandboxError(f'the hosts file has a block of sandbox "{mark}" without its end', "Remove it by hand.")
    return rest


def write(path: Path, mark: Path, registries: Sequence[RegistryHost]) -> None:
    """Put the block into the hosts file, or take it out where `registries` is empty; raises `SandboxError`."""
    try:
        with locked_path(path):
            before = path.read_bytes().decode("utf-8", "surrogateescape")
            after = remove_block(before, mark)
            after = add_block(after, mark, registries) if registries else after
            if after != before:
                _replace(path, after.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise SandboxError(f'"{path}" cannot be changed: {error.strerror}', "Run the sandbox as root.") from error


def holds(path: Path, mark: Path, registries: Sequence[RegistryHost]) -> bool:
    """Whether the hosts file has the block of sandbox `mark` with exactly these registries."""
    with locked_path(path):  # a write in place is no single step
        lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(_begin(mark))]
    block = [*_lines(registries), _end(mark)]
    return len(begins) == 1 and lines[begins[0] + 1 :][: len(block)] == block


def _begin(mark: Path) -> str:
    return f'# >>> xgbpatch sandbox "{mark}" >>>'


def _lines(registries: Sequence[RegistryHost]) -> list[str]:
    return [f"{registry.address} {registry.host}" for registry in registries]


def _end(mark: Path) -> str:
    return f'# <<< xgbpatch sandbox "{mark}" <<<'


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.xgbpatch-{os.getpid()}")
    try:
        draft.write_bytes(content)
        shutil.copystat(path, draft)
        os.utime(draft)  # Go's resolver, and so dockerd, reads a file anew by its time and size alone
        owner = path.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
        os.replace(draft, path)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Inside a container the hosts file is a mount, which only takes a write in place.
        with path.open("r+b", buffering=0) as file:  # never empty in between: others resolve names meanwhile
            file.write(content)
            file.truncate()
    finally:
        draft.unlink(missing_ok=True)


# How this machine finds the registries under ECR's host names, and how its Docker Engine trusts them.


def publish_names(journal: Journal) -> None:
    """Put the host names into the hosts file; raises `SandboxError` where they then resolve to something else."""
    state = journal.state
    write(state.hosts, state.directory, state.registries)
    for registry in state.registries:
        address = ""
        with suppress(socket.gaierror):
            address = socket.gethostbyname(registry.host)
        if address != registry.address:
            raise SandboxError(
                f'"{registry.host}" resolves to {address or "nothing"}, not to the sandbox\'s {registry.address}',
                f'Does "{state.hosts}" hold another line for it, and does /etc/nsswitch.conf say "hosts: files"?',
            )


def trust_authority(journal: Journal, certificates_directory: Path) -> None:
    """Put the authority where the Docker Engine looks for it; raises `SandboxError` where another's file is.

    The hosts file's lock is held meanwhile: of two sandboxes that begin at once, one gets the name.
    """
    state = journal.state
    with locked_path(state.hosts):
        for registry in state.registries:
            target = certificates_directory / registry.host / "ca.crt"
            if target.exists():
                raise _name_conflict(state, registry.host, target)
            try:
                for folder in reversed(target.parents):
                    if not folder.exists():
                        journal.create(folder).mkdir()
                journal.create(target).write_bytes(state.authority.read_bytes())
            except OSError as error:
                message = f'"{target}" cannot be written: {error.strerror}'
                raise SandboxError(message, "Run the sandbox as root.") from error


def distrust_authority(state: SandboxState) -> None:
    """Remove what `trust_authority` made, under the same lock: a directory may be the next sandbox's parent."""
    with locked_path(state.hosts):
        for path in reversed(state.created):
            if path.is_dir():
                with suppress(OSError):  # somebody else put something into it
                    path.rmdir()
            else:
                path.unlink(missing_ok=True)


def _name_conflict(state: SandboxState, host: str, target: Path) -> SandboxError:
    if other := owners(state.hosts).get(host):
        return SandboxError(
            f'"{host}" is the name of a registry of the sandbox in "{other}" ("{target}")',
            f"Give another --region. {commands(other)}",
        )
    return SandboxError(f'"{target}" is there already and is not the sandbox\'s', "Move it away first.")
