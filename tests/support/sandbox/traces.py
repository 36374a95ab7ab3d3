"""What a sandbox leaves on a machine while it runs."""

from pathlib import Path

from xgbpatch.sandbox import SandboxOptions

HOSTS = Path("/etc/hosts")
CERTIFICATES = Path("/etc/docker/certs.d")


def traces_of(options: SandboxOptions) -> list[str]:
    """Lines of the hosts file and certificates that name the sandbox's directory or one of its regions.

    Other sandboxes come and go on the same machine meanwhile.
    """
    marks = (str(options.state), *(f".dkr.ecr.{region}." for region in options.regions))
    lines = [*HOSTS.read_text().splitlines(), *map(str, CERTIFICATES.rglob("*"))]
    return [line for line in lines if any(mark in line for mark in marks)]


def processes_naming(text: str) -> list[str]:
    """Command lines of live processes that contain `text`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            lines.append(line)
    return lines
