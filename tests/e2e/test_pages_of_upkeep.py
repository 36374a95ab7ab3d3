"""Pages on building and keeping images current, their commands run as they stand, with ECR and a registry on loopback.

No engine is there. So `build`, and `rebuild` where it says nothing else, get one option more, `--builder registry`;
what test-local would say of an image is recorded before, where a page's command asks for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.aws import ACCOUNT, REGION
from support.documentation import blocks, commands, run_by
from support.handmade import put
from support.handmade_bases import PACKAGE, SERVE_UTILS, HandBase, stand_in_modules
from support.package_index import index
from support.patched_images import depot_of_user, model
from xgbpatch import catalogue
from xgbpatch.aws import AwsRegion, RepositoryOptions
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import resolve
from xgbpatch.cli import cli
from xgbpatch.contract.model import Verdict
from xgbpatch.errors import XgbpatchError
from xgbpatch.publish import test_record
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec

OLDER = HandBase("3.8.13", glibc="2.27", distributions={"xgboost": "1.5.2", "numpy": "1.19.5"})
MOVED = HandBase(patches=".1")  # AWS's security fix
HOOKED = MOVED.with_module(SERVE_UTILS, "def predict(model,", "def predict(model, more,")


@pytest.fixture
def services(ecr, tmp_path, monkeypatch):
    """Clients of the registries; the bases are in AWS's, and no engine answers."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    services = depot_of_user(tmp_path / "cache" / "xgbpatch")
    for version, base in {"1.5-1": OLDER, "3.2-0": HandBase()}.items():
        put(services, catalogue.image_uri(version, REGION), base.image)
    return services


@pytest.fixture
def run(capfd):
    """`run(words, expected exit code)`: what a command printed."""

    def command(words, code=0):
        more = ["--builder", "registry"] if words[1] in ("build", "rebuild") and "--builder" not in words else []
        assert words[0] == "xgbpatch", shlex.join(words)
        exit_code = 0
        try:
            cli.main([*words[1:], *more], standalone_mode=False)
        except SystemExit as end:
            exit_code = end.code
        except (XgbpatchError, click.ClickException) as error:
            exit_code = error.exit_code
            print(error)
        output = capfd.readouterr()
        assert exit_code == code, f"{shlex.join(words)}\n{output.out}{output.err}"
        return output.out.strip()

    return command


def settings(page):
    """What the page shows of xgbpatch.toml."""
    (block,) = (block for block in blocks("toml") if block.of == page)
    return block.text


def typed(page):
    """Every command of the page's blocks."""
    return [words for block in run_by(__file__, page) for words in commands(block.script)]


def test_configuration(services, run, tmp_path, monkeypatch):
    page = "docs/configuration.md"
    (init, *builds) = typed(page)
    run(init)
    module = stand_in_modules()[f"{PACKAGE}/encoder.py"]
    Path("src").mkdir()
    Path("src/preprocessing.py").write_text("")
    Path("src/encoder.py").write_text(module + "\n# ours\n")
    Path("xgbpatch.toml").write_text(settings(page).replace("…", hashlib.sha256(module.encode()).hexdigest()))
    Path("requirements.txt").write_text("category_encoders\n")
    with index(tmp_path / "packages", "category_encoders", "2.6.4") as packages:
        monkeypatch.setenv("PIP_INDEX_URL", packages)
        images = [run(words) for words in builds if "our-package" not in words]
    assert len(images) == 6
    assert len(set(images)) == 4, "three of the commands mean what the file says"
    with index(tmp_path / "private", "our_package", "1.0") as packages:
        Path("pip.conf").write_text(f"[global]\nindex-url = {packages}\n")  # as `aws codeartifact login` leaves it
        monkeypatch.delenv("PIP_INDEX_URL")
        monkeypatch.setenv("PIP_CONFIG_FILE", "pip.conf")
        Path("xgbpatch.toml").unlink()
        (build,) = (words for words in builds if "our-package" in words)
        assert "@sha256:" in run(build)


def test_builders(services, run):
    in_ecr, elsewhere = (run(words) for words in typed("docs/builders.md"))
    reference = json.loads(elsewhere)["image"]
    assert ImageReference.parse(reference).host == "registry.example.com"
    assert ImageReference.parse(reference).digest == ImageReference.parse(in_ecr).digest


def test_pipelines(tmp_path, monkeypatch):
    """For an xgbpatch of a checkout in the user's folder."""
    checkout = tmp_path / "xgbpatch"
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": programs}
    files = []
    for page in ("docs/ci.md", "docs/how-to/push-and-keep-current.md", "README.md"):
        (tmp_path / page).mkdir(parents=True)
        script = "".join(block.script for block in run_by(__file__, page))
        command = ["bash", "-euo", "pipefail", "-c", script]
        completed = subprocess.run(
            command, cwd=tmp_path / page, env=environment, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stderr
        files += completed.stdout.split()
    assert len(files) == 6
    for file in files:
        assert f"xgbpatch[packages] @ git+https://github.com/xgbpatch/xgbpatch@{commit}" in Path(file).read_text()


FILE = """
version = "3.2-0"
features = ["shap"]
repository = "team/fraud"

[images.fraud]
aliases = ["prod"]
"""


class Upkeep:
    """The user's place, and AWS, which moves a base."""

    def __init__(self, services):
        self.services = services
        self.spec = Spec("3.2-0", REGION, "fraud", features=("shap",), repository="team/fraud")

    def move(self, base):
        return put(self.services, catalogue.image_uri("3.2-0", REGION), base.image)

    def build(self, place):
        """The image of today, which test-local has passed."""
        definition = RegistryBuilder(self.services).define(self.spec, resolve(self.spec, self.services.registry))
        result = RegistryBuilder(self.services).build(definition, place.with_tag(definition.reference.tag))
        return self.passed(result.reference)

    def passed(self, image):
        record = test_record.TestRecord(image.digest, "1", "2026-11-21T12:00:00Z", {"serve.ping": Verdict.PASSED})
        test_record.keep(self.services, image, record)
        return image

    def name(self, image, tag):
        self.services.registry.put_manifest(image.with_tag(tag), self.services.registry.manifest(image))


def test_upkeep(services, ecr, run):
    Path("xgbpatch.toml").write_text(FILE)
    plan, rebuild, rebase, promote, usage, prune = (
        list(commands(block.script)) for block in run_by(__file__, "docs/upkeep.md")
    )
    upkeep, own = Upkeep(services), ecr.reference("team/fraud")
    AwsRegion(REGION).ensure_repository(ACCOUNT, own.repository, RepositoryOptions())
    for words in plan:
        run(words, 10)  # nothing is published yet
    old = upkeep.build(own)
    upkeep.name(old, "prod")
    for words in plan[:3]:
        run(words)
    model("fraud", old)
    upkeep.move(MOVED)
    run(plan[0], 10)
    (renewed,) = json.loads(run(rebuild[2]))["images"]  # the one that tests nothing
    assert renewed["outcome"] == "renewed"
    assert json.loads(run(rebuild[2]))["images"][0]["outcome"] == "waiting"
    new = upkeep.passed(ImageReference.parse(renewed["image"]))
    upkeep.name(new, "prod")
    for words in rebuild:
        assert "current" in run(words)

    listed = [run(words) for words in usage]
    assert all("aws sagemaker create-model" in text for text in listed), listed
    for words in prune:
        run(words)

    upkeep.move(HandBase())
    place = ImageReference.parse("registry.example.com/xgboost")
    image = upkeep.build(place)
    upkeep.name(image, ImageReference.parse(rebase[0][2]).tag)
    upkeep.name(image, "prod")
    upkeep.move(MOVED)
    upkeep.passed(ImageReference.parse(run(rebase[0])))  # as `test-local` would say
    run(rebase[1])
    drifted = upkeep.move(HOOKED)
    upkeep.move(MOVED)
    run([word if not word.startswith("sha256:") else drifted.digest for word in rebase[2]])
    for words in promote:
        run(words)
