"""Images of one file, and the credentials to push them with."""

import io
import tarfile
from contextlib import contextmanager

from xgbpatch.aws import AwsRegion
from xgbpatch.progress import Silent


@contextmanager
def tiny_image(engine, reference, label="probe"):
    """An image of one file and one label, named `reference`."""
    dockerfile = f"FROM scratch\nLABEL {label}=true\nCOPY word /word\n".encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in (("Dockerfile", dockerfile), ("word", str(reference).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    context.seek(0)
    image = engine.build(context, "linux/amd64", Silent(), tag=reference, no_cache=True)  # shares no step
    try:
        yield image
    finally:
        engine.remove(reference)


def credentials_of(registry):
    return AwsRegion(registry.region).registry_credentials(registry.account)
