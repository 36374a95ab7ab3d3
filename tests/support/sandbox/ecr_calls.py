"""What the tests of the sandbox's ECR share: digests, layers sent in parts, and the code of a refusal."""

import hashlib

MIB = 1 << 20


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def upload(ecr, repository, content, piece=10 * MIB):
    begun = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    for first in range(0, len(content), piece):
        part = content[first : first + piece]
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun, partFirstByte=first, partLastByte=first + len(part) - 1,
            layerPartBlob=part,
        )  # fmt: skip
    answer = ecr.complete_layer_upload(repositoryName=repository, uploadId=begun, layerDigests=[digest_of(content)])
    return answer["layerDigest"]


def code(raised):
    return raised.value.response["Error"]["Code"]
