"""Images of one file, and the credentials to push them with."""

import io
import tarfile
from contextlib import contextmanager

from xgbpatch.aws import AwsRegion
from xgbpatch.engine.client import BuildRequest
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
    request = BuildRequest(context=context, tag=reference, platform="linux/amd64", no_cache=True)  # shares no step
    image = engine.build(request, Silent())
    try:
        yield image
    finally:
        engine.remove(reference)


def credentials_of(registry):
    return AwsRegion(registry.region).registry_credentials(registry.account)
