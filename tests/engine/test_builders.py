"""Both builders make the same image: files, variables, labels and start; what needs no engine runs on one."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import docker
import pytest

from support.bases import RUN_ID, chosen
from support.pipeline import build_spec
from xgbpatch import contract, provenance
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import Base, resolve
from xgbpatch.contract import Options
from xgbpatch.engine.types import Run
from xgbpatch.errors import BaseImageError, ConfigurationError, RegistryError
from xgbpatch.inspection import container
from xgbpatch.progress import Silent
from xgbpatch.publish.push import Publisher, PushRequest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import load_image
from xgbpatch.registry.ecr import EcrAwareRegistry, blob_store_for
from xgbpatch.registry.keychain import Keychain
from xgbpatch.spec import Architecture, Spec, UserFile

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")
MOMENT = datetime(2026, 11, 1, 2, 3, 4, tzinfo=timezone.utc)
SECTIONS = ("Entrypoint", "Cmd", "WorkingDir", "User", "ExposedPorts", "Volumes", "StopSignal", "Healthcheck", "Shell")


@pytest.fixture(scope="module")
def services(builder):
    """Whose cache is that of all workers: test_remote_inspection reads layers of the same base."""
    keychain = Keychain()
    registry = EcrAwareRegistry(keychain)
    return Services(registry, blob_store_for(registry, keychain), builder.cache, Silent())


@pytest.fixture(scope="module")
def spec(pushed_base, tmp_path_factory, version):
    """A patch with all kinds of parts: our overlay, a fix, a file with an odd name, a variable with quotes."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "odd name.py").write_text("ANSWER = 42\n")
    return Spec(
        version=version, region="us-west-2", base_image=pushed_base.reference, features=("shap",),
        fixes=("serve-exit-code",), files=(UserFile(folder / "odd name.py", "mine/odd name.py"),),
        environment=(("GREETING", 'say "hello" to $PATH \\ all'),), repository=f"xgbpatch-tests/builders-{RUN_ID}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(pushed_base, version):
    return Base(pushed_base.reference, version, Architecture.AMD64)


@pytest.fixture(scope="module")
def assembled(services, spec, base, target):
    """What the engine-free builder put into the registry."""
    definition = RegistryBuilder(services).define(spec, base)
    return RegistryBuilder(services).build(definition, target.reference(str(definition.reference)))


@pytest.fixture(scope="module")
def pulled(engine, assembled):
    image = engine.pull(assembled.reference, None, Silent())
    yield image
    engine.remove(assembled.reference.pinned)


@pytest.fixture(scope="module")
def built(builder, spec):
    """The engine's own, on the same base by the same digest."""
    result = build_spec(replace(builder, created=MOMENT), spec)
    yield result
    builder.engine.remove(result.reference)
    builder.engine.remove(spec.base_image.pinned)


def test_the_same_files_with_the_same_attributes(engine, pulled, built):
    ours, theirs = (container.list_files(engine, image, None) for image in (pulled, built.image))
    difference = container.compare_files(theirs, ours)
    assert (difference.added, difference.removed, difference.changed) == ((), (), ())
    assert "/opt/xgbpatch/user/mine/odd name.py" in ours


def test_the_same_bytes_in_every_added_file(engine, pulled, built):
    words = "cd /opt/xgbpatch && find . -type f -exec sha256sum {} + | sort"
    sums = []
    for image in (pulled, built.image):
        completed = engine.run(Run(image.id, ("-c", words), entrypoint=("/bin/sh",), network="none"))
        assert completed.exit_code == 0, completed.stderr
        sums.append(completed.stdout)
    assert sums[0] == sums[1]
    assert len(sums[0].splitlines()) > 50


def test_the_same_variables_labels_and_start(pulled, built):
    assert pulled.environment == built.image.environment
    moment = provenance.CREATED
    labels = [{name: value for name, value in one.labels.items() if name != moment} for one in (pulled, built.image)]
    assert labels[0] == labels[1]
    assert built.image.labels[moment] == "2026-11-01T02:03:04Z"
    client = docker.APIClient()
    sections = [client.inspect_image(image.id)["Config"] for image in (pulled, built.image)]
    for name in SECTIONS:
        assert (sections[0].get(name) or None) == (sections[1].get(name) or None), name
    client.close()


def test_the_same_tag(assembled, built):
    assert assembled.reference.tag == built.reference.tag


def test_building_again_sends_nothing_and_another_image_is_refused(services, spec, base, target, assembled):
    definition = RegistryBuilder(services).define(spec, base)
    before = target.writes()
    again = RegistryBuilder(services).build(definition, target.reference(str(definition.reference)))
    assert (again.up_to_date, again.reference, target.writes()) == (True, assembled.reference, before)
    other = RegistryBuilder(services).define(replace(spec, environment=()), base)
    with pytest.raises(RegistryError, match="already holds another image"):
        RegistryBuilder(services).build(other, target.reference(str(definition.reference)))


def test_pushing_the_engines_image_to_the_tag_of_the_others_is_up_to_date(engine, services, built, assembled, target):
    """Its layer has other times and so another digest; both were held to the same labels."""
    before = target.writes()
    publisher = Publisher(engine, services)
    pushed = publisher.push(PushRequest(built.image, assembled.reference.with_digest("")))
    assert (pushed.up_to_date, pushed.reference, target.writes()) == (True, assembled.reference, before)
    assert built.image.layers != load_image(services.registry, assembled.reference).diff_ids


def test_a_second_patch_sends_the_overlay_and_the_manifest_only(services, spec, base, target, assembled):
    other = RegistryBuilder(services).define(replace(spec, environment=(("A", "1"),), files=()), base)
    result = RegistryBuilder(services).build(other, target.reference(str(other.reference)))
    image = load_image(services.registry, result.reference)
    assert result.traffic.present == len(image.layers) - 1
    assert result.traffic.sent == image.layers[-1].size + image.manifest.config.size
    assert result.traffic.received == 0


def test_it_keeps_sagemakers_contract(engine, pulled, tmp_path):
    """What starts no server: the files and variables are those of the other image; test_upkeep.py serves such a one."""
    report = contract.check(engine, pulled.id, Options(checks=("image",), logs=tmp_path))
    assert report.passed, [(result.name, result.reason) for result in report.results]


def test_the_command_line_makes_the_same_digest_elsewhere(services, spec, assembled, target, version, tmp_path):
    """Another process, cache, folder, time zone, hash seed and umask, and no engine; the tag is the only thing put.

    The cache holds nothing but what the layers list, which takes six seconds to read.
    """
    (tmp_path / "xgbpatch").mkdir()
    (tmp_path / "xgbpatch" / "layers").symlink_to(services.cache / "layers")
    (file,) = spec.files
    words = ["build", "--builder", "registry", "--version", version, "--base-image", str(spec.base_image)]
    words += ["--feature", "shap", "--fix", "serve-exit-code", "--file", f"{file.source}:{file.target}"]
    words += ["--env", "=".join(spec.environment[0]), "--repository", "elsewhere/image"]
    environ = {
        **os.environ, "XDG_CACHE_HOME": str(tmp_path), "DOCKER_HOST": "unix:///no/such/socket",
        "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7", "AWS_DEFAULT_REGION": spec.region,
    }  # fmt: skip
    completed = subprocess.run(
        [sys.executable, "-m", "xgbpatch", *words, "--registry", target.host, "--json"],
        env=environ, cwd=tmp_path, umask=0o077, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    document = json.loads(completed.stdout)
    image = ImageReference.parse(document["image"])
    assert [tag for tag in target.tags("elsewhere/image") if not tag.startswith("sha256-")] == [image.tag]
    assert (image.digest, document["digest"]) == (assembled.reference.digest, assembled.reference.digest)


def test_a_digest_that_the_engine_holds_needs_no_registry(pushed_base, built, engine, version):
    assert built.image.layers[:-1] == engine.image(pushed_base.reference.pinned).layers
    spec = Spec(version=version, region="us-west-2", base_image=pushed_base.reference)
    assert resolve(spec, None, engine).reference == pushed_base.reference
    with pytest.raises(BaseImageError, match='not for "arm64"'):
        resolve(replace(spec, architecture=Architecture.ARM64), None, engine)


def test_a_base_of_the_local_engine_is_refused(services, base_of, version):
    local = ImageReference.parse(base_of(version)).with_digest("sha256:" + "0" * 64)
    spec = Spec(version=version, region="us-west-2", base_image=local)
    with pytest.raises(ConfigurationError, match="local engine only"):
        RegistryBuilder(services).define(spec, Base(local, version, Architecture.AMD64))
