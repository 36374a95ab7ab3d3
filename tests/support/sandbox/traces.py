"""What a sandbox leaves on a machine while it runs."""

from pathlib import Path

HOSTS = Path("/etc/hosts")
CERTIFICATES = Path("/etc/docker/certs.d")


def certificates() -> set[str]:
    return {str(path) for path in CERTIFICATES.rglob("*")} if CERTIFICATES.exists() else set()


def processes_naming(text: str) -> list[str]:
    """Command lines of live processes that contain `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found
