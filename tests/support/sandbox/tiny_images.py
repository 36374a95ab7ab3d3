"""Images of one file, and the credentials to push them with."""

import io
from contextlib import contextmanager

from support.layers import tar_of
from xgbpatch.aws import AwsRegion
from xgbpatch.progress import Silent


@contextmanager
def tiny_image(engine, reference, label="probe"):
    """An image of one file and one label, named `reference`."""
    dockerfile = f"FROM scratch\nLABEL {label}=true\nCOPY word /word\n".encode()
    context = tar_of([("Dockerfile", dockerfile), ("word", str(reference).encode())])
    image = engine.build(io.BytesIO(context), "linux/amd64", Silent(), tag=reference, no_cache=True)  # shares no step
    try:
        yield image
    finally:
        engine.remove(reference)


def credentials_of(registry):
    return AwsRegion(registry.region).registry_credentials(registry.account)
