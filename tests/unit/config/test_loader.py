from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.config import fields, loader, settings
from xgbpatch.config.fields import PARSERS, TAG_FIELDS
from xgbpatch.config.loader import load
from xgbpatch.config.settings import KEYS, Flags
from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import DEFAULT_REPOSITORY, DEFAULT_TAG, Architecture, Spec

ENVIRON = {"AWS_REGION": "us-west-2"}
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def written(tmp_path):
    """Writes xgbpatch.toml into an empty directory, and says which directory."""

    def write(content):
        (tmp_path / "xgbpatch.toml").write_text(textwrap.dedent(content), encoding="utf-8")
        return tmp_path

    return write


def one(flags, environ, cwd):
    (spec,) = load(flags, environ, cwd)
    return spec


def refused(content, written, flags=None):
    with pytest.raises(ConfigurationError) as caught:
        load(flags or Flags(), ENVIRON, written(content))
    return caught.value


def test_flags_alone_give_a_spec_of_defaults(tmp_path):
    assert load(Flags(version="1.5-1", region="eu-west-1"), {}, tmp_path) == (Spec("1.5-1", "eu-west-1"),)


def test_defaults_of_the_spec_are_those_of_the_configuration(tmp_path):
    spec = one(Flags(version="1.5-1"), ENVIRON, tmp_path)
    assert (spec.repository, spec.tag, spec.name) == (DEFAULT_REPOSITORY, DEFAULT_TAG, "default")


def test_every_setting_has_a_parser():
    assert set(PARSERS) == set(KEYS)


FLAG, VARIABLE, IMAGE, TOP = (
    Flags(version="1.2-1"), {"XGBPATCH_VERSION": "1.2-2"}, '[images.a]\nversion = "1.3-1"\n', 'version = "1.5-1"\n',
)  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "environ", "content", "expected"),
    [
        pytest.param(FLAG, VARIABLE, TOP + IMAGE, "1.2-1", id="flag"),
        pytest.param(Flags(), VARIABLE, TOP + IMAGE, "1.2-2", id="variable"),
        pytest.param(Flags(), {}, TOP + IMAGE, "1.3-1", id="image"),
        pytest.param(Flags(), {"XGBPATCH_VERSION": " "}, TOP + IMAGE, "1.3-1", id="empty-variable"),
        pytest.param(Flags(), {}, TOP + "[images.a]\n", "1.5-1", id="top"),
    ],
)
def test_the_highest_place_wins(written, flags, environ, content, expected):
    assert one(flags, {**ENVIRON, **environ}, written(content)).version == expected


def test_all_of_the_file(written):
    cwd = written(f"""
        version = "3.2-0"
        region = "eu-central-1"
        architecture = "amd64"
        base_image = "r.io/base:3.2-0@{DIGEST}"
        features = ["shap"]
        packages = ["numba", "shap>=0.44"]
        requirements = "r.txt"
        repository = "team/xgb"
        tag = "{{version}}-fixed"
        aliases = ["prod", "new"]
        [environment]
        B = "2"
        A = 1
        [[files]]
        source = "a.py"
        target = "p/a.py"
        [[replace]]
        module = "sagemaker_xgboost_container.encoder"
        source = "a.py"
        sha256 = "{"0" * 64}"
    """)
    (cwd / "a.py").write_text("")
    (cwd / "r.txt").write_text("tqdm\nnumba\n")
    spec = one(Flags(), {}, cwd)
    assert spec.base_image == ImageReference("r.io", "base", "3.2-0", DIGEST)
    assert (spec.version, spec.region, spec.architecture) == ("3.2-0", "eu-central-1", Architecture.AMD64)
    assert (spec.features, spec.packages) == (("shap",), ("numba", "shap>=0.44", "tqdm"))
    assert [(file.source, file.target) for file in spec.files] == [(cwd / "a.py", "p/a.py")]
    assert [(item.module, item.source) for item in spec.replacements] == [
        ("sagemaker_xgboost_container.encoder", cwd / "a.py")
    ]
    assert spec.environment == (("B", "2"), ("A", "1"))
    assert (spec.repository, spec.tag, spec.aliases) == ("team/xgb", "{version}-fixed", ("prod", "new"))


def test_all_of_the_flags(tmp_path):
    (tmp_path / "a.py").write_text("")
    (tmp_path / "r.txt").write_text("tqdm\n")
    flags = Flags(
        version="1.3-1", region="eu-west-1", architecture="arm64", features=("shap,daal4py", "shap"),
        packages=("numba",), requirements="r.txt", files=("a.py", "a.py:p/b.py"), environment=("A=1=2", "B="),
        repository="r", tag="{spec}", aliases=("x,y",),
    )  # fmt: skip
    spec = one(flags, {}, tmp_path)
    assert spec.architecture is Architecture.ARM64
    assert spec.features == ("shap", "daal4py")
    assert spec.packages == ("numba", "tqdm")
    assert [file.target for file in spec.files] == ["a.py", "p/b.py"]
    assert spec.environment == (("A", "1=2"), ("B", ""))
    assert (spec.repository, spec.tag, spec.aliases) == ("r", "{spec}", ("x", "y"))


def test_all_of_the_variables(tmp_path):
    (tmp_path / "r.txt").write_text("tqdm\n")
    values = {
        "XGBPATCH_VERSION": "1.5-1", "XGBPATCH_REGION": "eu-west-1", "XGBPATCH_ARCH": "arm64",
        "XGBPATCH_BASE_IMAGE": "r.io/b:1", "XGBPATCH_FEATURES": "shap, daal4py", "XGBPATCH_PACKAGES": "a>1,<2; b",
        "XGBPATCH_REQUIREMENTS": "r.txt", "XGBPATCH_REPOSITORY": "r", "XGBPATCH_TAG_PATTERN": "{base}",
        "XGBPATCH_ALIASES": "x,y", "XGBPATCH_FIXES": "mme-errors, checkpoint-resume",
    }  # fmt: skip
    assert set(values) | {"XGBPATCH_CONFIG", "XGBPATCH_IMAGE"} == {item.name for item in loader.VARIABLES}
    spec = one(Flags(), values, tmp_path)
    assert spec == Spec(
        "1.5-1", "eu-west-1", architecture=Architecture.ARM64, base_image=ImageReference("r.io", "b", "1"),
        features=("shap", "daal4py"), packages=("a<2,>1", "b", "tqdm"), repository="r", tag="{base}",
        aliases=("x", "y"), fixes=("checkpoint-resume", "mme-errors"),
    )  # fmt: skip


def test_lists_are_replaced_and_not_joined(written):
    cwd = written('version = "1.5-1"\npackages = ["a"]\n[images.i]\npackages = ["b"]\n')
    assert one(Flags(), ENVIRON, cwd).packages == ("b",)


def test_variables_of_the_image_are_put_together_by_name(written):
    cwd = written("""
        version = "1.5-1"
        environment = { A = "top", B = "top", C = "top" }
        [images.i]
        environment = { B = "image", C = "image" }
    """)
    spec = one(Flags(environment=("C=flag",)), ENVIRON, cwd)
    assert dict(spec.environment) == {"A": "top", "B": "image", "C": "flag"}


TWO = '[images.fraud]\nversion = "1.5-1"\n[images.churn]\nversion = "1.7-1"\n'


@pytest.mark.parametrize(
    ("flags", "environ", "names"),
    [
        pytest.param(Flags(), {}, ["fraud", "churn"], id="all"),
        pytest.param(Flags(images=("churn",)), {}, ["churn"], id="one"),
        pytest.param(Flags(images=("churn", "fraud")), {}, ["fraud", "churn"], id="in-the-files-order"),
        pytest.param(Flags(), {"XGBPATCH_IMAGE": "churn"}, ["churn"], id="by-variable"),
    ],
)
def test_images_are_chosen_by_name(written, flags, environ, names):
    assert [spec.name for spec in load(flags, {**ENVIRON, **environ}, written(TWO))] == names


def test_a_broken_image_does_not_spoil_the_choice_of_another(written):
    content = TWO + '[images.old]\nversion = "9.9-9"\n'
    assert one(Flags(images=("churn",)), ENVIRON, written(content)).version == "1.7-1"


def test_an_unknown_image_gets_the_nearest(written):
    error = refused(TWO, written, Flags(images=("frod",)))
    assert 'no image "frod"' in error.message
    assert 'Did you mean "fraud"?' in error.next_step


SHARED = """
version = "1.5-1"
repository = "{repository}"
[images.fraud]
aliases = ["prod"]
[images.churn]
{churn}
[images.risk]
repository = "ml/risk"
aliases = ["prod"]
"""


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        pytest.param(Flags(), {}, id="all"),
        pytest.param(Flags(images=("fraud",)), {}, id="the-first"),
        pytest.param(Flags(images=("churn",)), {}, id="the-second"),
        pytest.param(Flags(images=("churn", "risk"), aliases=("mine",), repository="other"), {}, id="by-flags"),
        pytest.param(Flags(images=("churn", "fraud")), {"XGBPATCH_ALIASES": "mine"}, id="by-a-variable"),
    ],
)
def test_two_images_of_a_repository_do_not_share_an_alias(written, flags, environ):
    cwd = written(SHARED.format(repository="ml/x", churn='aliases = ["new", "prod"]'))
    with pytest.raises(ConfigurationError, match="is an alias of the image") as caught:
        load(flags, {**ENVIRON, **environ}, cwd)
    assert "give each its own" in caught.value.next_step


@pytest.mark.parametrize(
    "churn",
    ['aliases = ["new"]', 'aliases = ["prod"]\nrepository = "ml/y"', 'aliases = ["prod"]\nregion = "eu-west-1"'],
    ids=["another-alias", "another-repository", "another-region"],
)
def test_aliases_that_are_other_tags_are_none_of_each_others(written, churn):
    assert len(load(Flags(), ENVIRON, written(SHARED.format(repository="ml/x", churn=churn)))) == 3


def test_a_shared_alias_does_not_spoil_the_choice_of_a_third_image(written):
    content = SHARED.format(repository="ml/x", churn='aliases = ["prod"]')
    assert one(Flags(images=("risk",)), ENVIRON, written(content)).aliases == ("prod",)


def test_an_image_without_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no xgbpatch\.toml is in"):
        load(Flags(version="1.5-1", images=("a",)), ENVIRON, tmp_path)


@pytest.mark.parametrize(
    ("content", "message", "next_step"),
    [
        pytest.param('verison = "1.5-1"', '"verison" in "{file}" is not a setting', 'mean "version"', id="key"),
        pytest.param(
            '[images.a]\nfeature = ["shap"]',
            '"feature" in [images.a] of "{file}" is not a',
            '"features"',
            id="image-key",
        ),
        pytest.param('[image.a]\nversion = "1.5-1"', '"image" in "{file}"', 'mean "images"', id="image-table"),
        pytest.param('version = "1.5"', '"version" in "{file}": "1.5" is not a version', 'mean "1.5-1"', id="version"),
        pytest.param(
            '[images.a]\nversion = "1.5"', '"version" in [images.a] of "{file}": "1.5"', '"1.5-1"', id="image-version"
        ),
        pytest.param('version = "latest"', '"version" in "{file}": version "latest" is refused', "3.2-0", id="latest"),
        pytest.param("version = 1.5", '"version" in "{file}": must be text, not a number', '"1.5"', id="type"),
        pytest.param(
            'version = "1.5-1"\nregion = "us-wset-2"', '"region" in "{file}": "us-wset-2"', '"us-west-2"', id="region"
        ),
        pytest.param('region = "Oregon"', '"Oregon" is not a region', "eu-central-1", id="no-region-at-all"),
        pytest.param('features = ["shpa"]', '"shpa" is not a feature', 'mean "shap"', id="feature"),
        pytest.param('features = "shap"', "must be a list of texts, not text", '["one", "two"]', id="list"),
        pytest.param('packages = [""]', "must not be empty", "leave it out", id="empty-text"),
        pytest.param('packages = ["a=1"]', '"a=1" is not a requirement', "shap==0.46.0", id="package"),
        pytest.param('requirements = "no.txt"', '"no.txt" does not exist', "relative paths start at", id="path"),
        pytest.param('architecture = "arm"', '"arm" is not an architecture', 'mean "arm64"', id="architecture"),
        pytest.param('base_image = "A/b"', '"base_image" in "{file}": "A/b" is not an image', "lower", id="base-image"),
        pytest.param('repository = "r.io/x"', "holds more than a repository", 'Write "x"', id="repository-host"),
        pytest.param('repository = "x:1"', "holds more than a repository", 'Write "x"', id="repository-tag"),
        pytest.param('tag = "{verison}"', '"{verison}" is not a field', 'mean "version"', id="tag-field"),
        pytest.param('tag = "{}"', '"{}" is not a field', "version, base, spec", id="tag-empty-field"),
        pytest.param('tag = "{version"', "is not a tag pattern", "{version}-{base}-{spec}", id="tag-brace"),
        pytest.param('tag = "{version!r}"', "formats a field", "{version}-{base}-{spec}", id="tag-conversion"),
        pytest.param('tag = "{version:>9}"', "formats a field", "{version}-{base}-{spec}", id="tag-format"),
        pytest.param('tag = "{version}/x"', "does not make a valid tag", "128", id="tag-character"),
        pytest.param('aliases = ["a b"]', '"a b" does not make a valid tag', "128", id="alias"),
        pytest.param("environment = { path = 1 }", '"path" is not a variable name', "capital", id="variable"),
        pytest.param('[[replace]]\nmodule = "x"', '"source" is missing', "module, source, sha256", id="replace"),
        pytest.param('[images."A B"]', '[images.A B] of "{file}": "A B" is not a name', "small letters", id="name"),
        pytest.param("images = 1", '"images" of "{file}" must be a table', "[images.NAME]", id="images"),
        pytest.param("version =", '"{file}" is not TOML', "toml.io", id="toml"),
    ],
)
def test_what_is_wrong_is_named_with_file_table_and_nearest(written, tmp_path, content, message, next_step):
    error = refused(content, written)
    assert message.replace("{file}", str(tmp_path / "xgbpatch.toml")) in error.message
    assert next_step in error.next_step


@pytest.mark.parametrize(
    ("flags", "environ", "origin"),
    [
        pytest.param(Flags(version="1.5"), {}, "--version", id="flag"),
        pytest.param(Flags(), {"XGBPATCH_VERSION": "1.5"}, "XGBPATCH_VERSION", id="variable"),
        pytest.param(Flags(version="1.5-1", features=("x",)), {}, "--feature", id="repeatable-flag"),
        pytest.param(Flags(version="1.5-1", files=("x.py",)), {}, "--file", id="path-flag"),
        pytest.param(Flags(version="1.5-1", files=("",)), {}, "--file", id="empty-path"),
        pytest.param(Flags(version="1.5-1", environment=("x",)), {}, "--env", id="assignment"),
        pytest.param(
            Flags(version="1.5-1"), {"AWS_REGION": "xx-1"}, "the region of AWS's own settings", id="aws-region"
        ),
    ],
)
def test_a_wrong_flag_or_variable_is_named(tmp_path, flags, environ, origin):
    with pytest.raises(ConfigurationError) as caught:
        load(flags, {**ENVIRON, **environ}, tmp_path)
    assert caught.value.message.startswith(f"{origin}: ")


def test_no_version_says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigurationError, match="no version") as caught:
        load(Flags(), ENVIRON, tmp_path)
    assert "--version" in caught.value.next_step


def test_no_region_says_how_to_set_one(tmp_path):
    with pytest.raises(ConfigurationError, match="no AWS region is known") as caught:
        load(Flags(version="1.5-1"), {}, tmp_path)
    assert all(way in caught.value.next_step for way in ("--region", "AWS_REGION", "xgbpatch.toml", "aws configure"))


@pytest.mark.parametrize(
    ("flags", "environ", "expected", "region"),
    [
        pytest.param(Flags(base_image="base:1.7-1-1-cpu-py3"), {}, "1.7-1-1", "", id="local-with-version-tag"),
        pytest.param(Flags(base_image="base", version="1.7-1-1"), {}, "1.7-1-1", "", id="version-outside-the-table"),
        pytest.param(
            Flags(base_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/b:3.2-0"), {}, "3.2-0", "eu-west-1", id="ecr"
        ),
        pytest.param(
            Flags(base_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/b:3.2-0"),
            ENVIRON, "3.2-0", "us-west-2", id="own-region-first",
        ),
    ],
)  # fmt: skip
def test_a_base_of_the_users_own_brings_version_and_region(tmp_path, flags, environ, expected, region):
    spec = one(flags, environ, tmp_path)
    assert (spec.version, spec.region) == (expected, region)


def test_a_base_whose_tag_is_no_version_needs_one(tmp_path):
    with pytest.raises(ConfigurationError, match='--base-image: the tag of "base:new" does not begin') as caught:
        load(Flags(base_image="base:new"), ENVIRON, tmp_path)
    assert "--version" in caught.value.next_step


@pytest.mark.parametrize("moving", ["latest", "1"])
def test_a_moving_version_is_refused_with_a_base_of_the_users_own_too(tmp_path, moving):
    with pytest.raises(ConfigurationError, match=f'--version: version "{moving}" is refused'):
        load(Flags(base_image="base:3.2-0", version=moving), ENVIRON, tmp_path)


def test_a_feature_that_the_version_cannot_take_is_refused_before_anything_is_pulled(tmp_path):
    with pytest.raises(ConfigurationError, match=r'--feature: "shap" does not work on version "0\.90-2"') as caught:
        load(Flags(version="0.90-2", features=("shap",)), ENVIRON, tmp_path)
    assert "xgbpatch features" in caught.value.next_step


def test_what_a_base_of_the_users_own_can_take_is_left_to_inspection(tmp_path):
    assert one(Flags(base_image="base:0.90-2", features=("shap",)), ENVIRON, tmp_path).features == ("shap",)


def test_the_file_may_be_named(tmp_path):
    (tmp_path / "other.toml").write_text('version = "1.5-1"')
    (tmp_path / "xgbpatch.toml").write_text('version = "1.7-1"')
    assert one(Flags(config=tmp_path / "other.toml"), ENVIRON, tmp_path).version == "1.5-1"
    assert one(Flags(), {**ENVIRON, "XGBPATCH_CONFIG": "other.toml"}, tmp_path).version == "1.5-1"


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r'--config: there is no configuration file ".*no\.toml"'):
        load(Flags(config=tmp_path / "no.toml", version="1.5-1"), ENVIRON, tmp_path)


def test_paths_of_the_file_start_at_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.py").write_text("")
    (tmp_path / "sub" / "x.toml").write_text('version = "1.5-1"\n[[files]]\nsource = "a.py"\n')
    spec = one(Flags(config=tmp_path / "sub" / "x.toml"), ENVIRON, tmp_path)
    assert [file.source for file in spec.files] == [tmp_path / "sub" / "a.py"]


@given(
    st.lists(st.sampled_from(["{version}", "{base}", "{spec}", "-", ".", "x", "{{", "}}", "{", "}", "é"]), max_size=9)
)
def test_an_accepted_tag_pattern_can_be_filled_in(parts):
    pattern = "".join(parts)
    try:
        fields.parse({"tag": settings.Given(pattern, "tag")}, None)
    except ConfigurationError:
        return
    assert ImageReference.parse(f"x:{pattern.format(**TAG_FIELDS)}").tag


@given(st.text(st.characters(exclude_characters="=")), st.text())
def test_an_assignment_splits_at_the_first_equals_sign(name, value):
    assert loader._assignment(f"{name}={value}") == (name, value)


@given(st.lists(st.text(st.characters(exclude_characters=",")).map(str.strip).filter(bool)))
def test_split_undoes_join(parts):
    assert loader.split_list(" , ".join(parts)) == parts
