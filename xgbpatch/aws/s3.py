"""S3: objects listed, read, downloaded, and written whole."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch.aws.ecr import configured_region
from xgbpatch.aws.session import client_config, code, session, translated
from xgbpatch.errors import ConfigurationError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"
_ATTEMPTS = 4  # of a download that breaks off; each goes on where the one before ended
_CHUNK = 1 << 20


@dataclass(frozen=True)
class S3Location:
    """`s3://bucket/key`; `key` may be empty, or a prefix that ends in a slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Location:
        """Raises `ConfigurationError` where `text` names no bucket."""
        bucket, _, key = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not bucket:
            raise ConfigurationError(f'"{text}" is no location in S3', "Write s3://bucket/key.")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def folder(self) -> S3Location:
        """The same with a slash at its end; of a whole bucket, itself."""
        return S3Location(self.bucket, f"{self.key.rstrip('/')}/" if self.key else "")

    def below(self, name: str) -> S3Location:
        """`name` in this folder."""
        return S3Location(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))


@dataclass(frozen=True)
class S3Object:
    """An object as it was when it was looked at; another content has another `etag`. `size` is in bytes."""

    location: S3Location
    size: int
    etag: str


class S3:
    """The S3 that this machine's credentials reach. Raises nothing but `AwsError`."""

    def objects(self, prefix: S3Location) -> Iterator[S3Object]:
        """Every object whose key begins with that of `prefix`, in the order of keys; folders' own markers are none."""
        with translated("s3:ListBucket", f"{SCHEME}{prefix.bucket}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
            for page in pages:
                for item in page.get("Contents", ()):
                    if not item["Key"].endswith("/"):
                        yield S3Object(S3Location(prefix.bucket, item["Key"]), item["Size"], item["ETag"])

    def read(self, location: S3Location, length: int | None = None) -> bytes | None:
        """The content, or its first `length` bytes; None where there is no such object."""
        with translated("s3:GetObject", str(location)):
            try:
                with closing(self._client.get_object(Bucket=location.bucket, Key=location.key)["Body"]) as body:
                    return bytes(body.read(length))
            except self._client.exceptions.ClientError as error:
                if code(error) == "NoSuchKey":
                    return None
                raise

    def download(self, item: S3Object, path: Path) -> None:
        """Write the object to `path`, a piece at a time; one that was replaced since it was looked at is refused."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with path.open("wb") as file, translated("s3:GetObject", str(item.location)):
            breaks = 0
            while file.tell() < item.size:
                try:
                    body = self._client.get_object(
                        Bucket=item.location.bucket, Key=item.location.key, IfMatch=item.etag,
                        Range=f"bytes={file.tell()}-",
                    )["Body"]  # fmt: skip
                    for chunk in body.iter_chunks(_CHUNK):
                        file.write(chunk)
                except (HTTPClientError, IncompleteReadError):
                    breaks += 1
                    if breaks == _ATTEMPTS:
                        raise

    def write(self, location: S3Location, content: bytes, sha256: str) -> None:
        """Put an object in one step; S3 refuses a content that has not this digest (hexadecimal)."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with translated("s3:PutObject", str(location)):
            self._client.put_object(
                Bucket=location.bucket, Key=location.key, Body=content, ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )  # fmt: skip

    def sha256(self, location: S3Location) -> str:
        """The digest (hexadecimal) that S3 keeps of an object of `write`; empty where there is none, or no object."""
        with translated("s3:GetObject", str(location)):
            try:
                answer = self._client.head_object(Bucket=location.bucket, Key=location.key, ChecksumMode="ENABLED")
            except self._client.exceptions.ClientError as error:
                if code(error) in ("404", "NoSuchKey"):
                    return ""
                raise
            return base64.b64decode(answer.get("ChecksumSHA256", "")).hex()

    @cached_property
    def _client(self) -> S3Client:
        region = configured_region() or "us-east-1"  # S3 tells where a bucket is, and boto3 goes there
        with translated("s3", region):
            return session(region).client("s3", config=client_config())
