from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import EcrRegistry, ImageReference

DIGEST = "sha256:" + "0123456789abcdef" * 4
HOSTS = st.one_of(
    st.just(""),
    st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z][a-z0-9]{0,8}){1,3}(:[1-9][0-9]{1,3})?", fullmatch=True),
    st.just("localhost"),
    st.just("localhost:5000"),
)
REPOSITORIES = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}){0,3}", fullmatch=True)
TAGS = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
DIGESTS = st.one_of(st.just(""), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True))


@given(HOSTS, REPOSITORIES, TAGS, DIGESTS)
def test_parse_undoes_str(host, repository, tag, digest):
    first = repository.split("/")[0]
    if not host and "/" in repository and ("." in first or first == "localhost"):
        return  # the specification reads such a first part as a host
    reference = ImageReference(host, repository, tag, digest)
    assert ImageReference.parse(str(reference)) == reference


@given(st.text(max_size=80))
def test_any_text_parses_to_itself_or_is_refused(text):
    try:
        reference = ImageReference.parse(text)
    except ConfigurationError:
        return
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("xgbpatch-base", ImageReference("", "xgbpatch-base"), id="local-name"),
        pytest.param("team/image:1.5-1", ImageReference("", "team/image", "1.5-1"), id="local-path"),
        pytest.param("localhost:5000/image", ImageReference("localhost:5000", "image"), id="port"),
        pytest.param(f"r.io/a/b:t@{DIGEST}", ImageReference("r.io", "a/b", "t", DIGEST), id="tag-and-digest"),
    ],
)
def test_parts(text, expected):
    assert ImageReference.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("", "repository", id="empty"),
        pytest.param("Upper/case", "repository", id="upper-case"),
        pytest.param("r.io/", "repository", id="host-alone"),
        pytest.param("image:a b", "tag", id="blank-in-tag"),
        pytest.param("image:", "tag", id="no-tag-after-the-colon"),
        pytest.param("image:1.0@", "digest", id="no-digest-after-the-at"),
        pytest.param("image@sha256:12", "digest", id="short-digest"),
        pytest.param("-bad.io/image", "registry host", id="host-with-dash"),
        pytest.param("image:tag\n", "tag", id="line-break"),
    ],
)
def test_the_wrong_part_is_named(text, part):
    with pytest.raises(ConfigurationError, match=f"its {part} "):
        ImageReference.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(
            "246618743249.dkr.ecr.us-west-2.amazonaws.com", EcrRegistry("246618743249", "us-west-2"), id="aws"
        ),
        pytest.param(
            "450853457545.dkr.ecr.cn-north-1.amazonaws.com.cn", EcrRegistry("450853457545", "cn-north-1"), id="aws-cn"
        ),
        pytest.param(
            "414596584902.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            EcrRegistry("414596584902", "us-gov-west-1"),
            id="fips",
        ),
        pytest.param("public.ecr.aws", None, id="public-ecr"),
        pytest.param("localhost:5000", None, id="elsewhere"),
    ],
)
def test_ecr_hosts(host, expected):
    assert ImageReference(host, "image").ecr == expected


def test_pinned_needs_a_digest():
    with pytest.raises(ConfigurationError, match='"image:tag" has no digest'):
        _ = ImageReference("", "image", "tag").pinned


def test_pinned_drops_the_tag():
    assert str(ImageReference("r.io", "image", "tag", DIGEST).pinned) == f"r.io/image@{DIGEST}"
