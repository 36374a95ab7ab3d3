"""A published image, and what became of its base, its spec and its packages since: all asked of real registries."""

import contextlib
import datetime
import functools
import itertools
import json
import os
import subprocess
import threading
import zipfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import hand_base
import handmade
import pytest
from publication_parts import command_line, registry

from xgbpatch import provenance
from xgbpatch.digest import asked_digest
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.remote import assembly
from xgbpatch.remote.image import load
from xgbpatch.resolution import resolve
from xgbpatch.spec import Replacement, Spec, UserFile
from xgbpatch.upkeep import aliases, planning
from xgbpatch.upkeep.planning import Cause, State

TODAY = datetime.date(2026, 11, 1)
NUMBERS = itertools.count()
HOOKED = {hand_base.SERVE_UTILS: ("def predict(model, model_format,", "def predict(model, new, model_format,")}
BODY = {hand_base.SERVE_UTILS: ("    if model_format == PKL_FORMAT:\n", "    if model_format != XGB_FORMAT:\n")}
NOT_HOOKED = {hand_base.SERVE_UTILS: ("def _get_labels(objective,", "def _get_labels(objective, *,")}


@pytest.fixture(scope="module")
def loopback(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("plan")) as started:
        yield started


@pytest.fixture
def yard(loopback, tmp_path):
    """A base and a repository of this test's own; `spec` stands on that base."""
    number = next(NUMBERS)
    base = loopback.reference(f"base-{number}:3.2-0")
    spec = Spec("3.2-0", "", "fraud", base_image=base, features=("shap",), repository=f"fraud-{number}")
    made = Yard(handmade.depot_on(tmp_path / "cache"), spec, loopback)
    made.move(hand_base.base())
    return made


class Yard:
    def __init__(self, depot, spec, loopback):
        self.depot, self.spec, self.loopback = depot, spec, loopback
        self.place = loopback.reference(spec.repository)

    def move(self, base):
        """Put another image under the base's tag, as AWS does."""
        return handmade.put(self.depot, self.spec.base_image, base)

    def publish(self, spec=None):
        spec = spec or self.spec
        design = assembly.render(self.depot, spec, resolve(spec, self.depot.registry))
        place = self.place.with_tag(design.reference.tag)
        return assembly.assemble(self.depot, design, place).reference

    def relabel(self, reference, **changes):
        """The image again, with other labels: as another xgbpatch would have written them."""
        image = load(self.depot.registry, reference)
        labels = {**image.labels, **changes}
        settings = {key: value for key, value in image.config["config"].items() if key not in ("Labels", "Env")}
        again = handmade.HandImage([], image.environment, labels, settings)
        return handmade.put(self.depot, reference.with_digest(""), again)

    def plan(self, spec=None, today=TODAY, packages=True):
        return planning.plan(self.depot, spec or self.spec, self.place, today, packages)


def causes(plan):
    return [reason.cause for reason in plan.reasons]


def test_an_image_that_nobody_published_is_to_be_built(yard):
    plan = yard.plan()
    assert (plan.state, causes(plan), plan.published) == (State.REBUILD, [Cause.UNPUBLISHED], None)


def test_what_was_just_built_is_current(yard):
    reference = yard.publish()
    plan = yard.plan()
    assert plan.reasons == ()
    assert plan.state is State.CURRENT
    assert plan.published.reference.digest == reference.digest


def test_looking_at_a_current_image_costs_a_handful_of_requests_and_no_layer(yard):
    yard.publish()
    lines = len(yard.loopback.log.read_text().splitlines())
    forget(yard)
    yard.plan()
    seen = yard.loopback.log.read_text().splitlines()[lines:]
    calls = [line for line in seen if '"GET /v2/' in line or '"HEAD /v2/' in line]
    assert len(calls) <= 5, calls
    assert not yard.depot.cache.exists()


@pytest.mark.parametrize(
    "base",
    [hand_base.base(note="a security fix"), hand_base.base(NOT_HOOKED)],
    ids=["elsewhere", "in a function that is not hooked"],
)
def test_a_base_that_moved_asks_for_a_rebuild(yard, base):
    old = yard.publish()
    new = yard.move(base)
    plan = yard.plan()
    assert (plan.state, causes(plan)) == (State.REBUILD, [Cause.BASE])
    before = load(yard.depot.registry, old).provenance.base_digest
    assert f"{before} → {new.digest}" in plan.reasons[0].words
    assert plan.base_alone
    assert plan.base.reference.digest == new.digest
    yard.publish()
    assert yard.plan().state is State.CURRENT


@pytest.mark.parametrize("changes", [HOOKED, BODY], ids=["parameters", "body"])
def test_a_base_that_changed_a_hooked_function_needs_a_person_and_the_function_is_named(yard, changes):
    yard.publish()
    yard.move(hand_base.base(changes))
    plan = yard.plan()
    assert (plan.state, causes(plan)) == (State.DRIFTED, [Cause.BASE, Cause.DRIFT])
    drifted = plan.reasons[1]
    assert '"sagemaker_xgboost_container.algorithm_mode.serve_utils:predict"' in drifted.words
    ((old, new),) = changes.values()
    assert f"-{old.splitlines()[0]}" in drifted.difference
    assert f"+{new.splitlines()[0]}" in drifted.difference


def test_what_drifted_is_named_where_the_old_base_is_gone(yard):
    yard.publish()
    old = yard.depot.registry.head(yard.spec.base_image)
    yard.move(hand_base.base(HOOKED))
    assert yard.depot.registry.delete(yard.spec.base_image.with_digest(old.digest))
    forget(yard)
    plan = yard.plan()
    assert plan.state is State.DRIFTED
    assert "serve_utils:predict" in plan.reasons[1].words
    assert plan.reasons[1].difference == ""


def forget(yard):
    yard.depot.cache.rename(yard.depot.cache.with_name("away"))


def test_another_xgboost_under_the_same_tag_is_drift(yard):
    yard.publish()
    yard.move(hand_base.base(xgboost="3.3.0"))
    plan = yard.plan()
    assert plan.state is State.DRIFTED
    assert '"3.3"' in plan.reasons[1].words


def test_a_replaced_module_that_the_base_changed_is_drift(yard, tmp_path):
    module = "sagemaker_xgboost_container.encoder"
    source = hand_base.SOURCE / "sagemaker_xgboost_container" / "encoder.py"
    yard.spec = replace(yard.spec, replacements=(Replacement(module, source, sha256_of(source)),))
    yard.publish()
    assert yard.plan().state is State.CURRENT
    changes = {"sagemaker_xgboost_container/encoder.py": ("_SNIFFED_CHARACTERS = 512", "_SNIFFED_CHARACTERS = 256")}
    yard.move(hand_base.base(changes))
    words = [reason.words for reason in yard.plan().reasons]
    assert f'"{module}", which the image replaces, has changed' in words


def sha256_of(path):
    return handmade.sha256(path.read_bytes()).removeprefix("sha256:")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": ("shap", "training")}, 'feature "training" is new'),
        ({"features": ()}, 'feature "shap" is gone'),
        ({"fixes": ("libsvm-skew",)}, 'fix "libsvm-skew" is new'),
        ({"environment": (("OMP_NUM_THREADS", "4"),)}, 'variable "OMP_NUM_THREADS" has another value'),
        ({"packages": ("category-encoders>=2",)}, 'package "category-encoders>=2" is new'),
    ],
    ids=["feature", "no feature", "fix", "variable", "package"],
)
def test_a_spec_that_changed_asks_for_a_rebuild_and_says_what_changed(yard, change, words):
    yard.publish()
    plan = yard.plan(replace(yard.spec, **change))
    assert (plan.state, [reason.words for reason in plan.reasons]) == (State.REBUILD, [words])
    assert not plan.base_alone


def test_a_file_of_the_users_that_changed_asks_for_a_rebuild(yard, tmp_path):
    file = tmp_path / "features.py"
    file.write_text("x = 1")
    yard.spec = replace(yard.spec, files=(UserFile(file, "features.py"),))
    yard.publish()
    assert yard.plan().state is State.CURRENT
    file.write_text("x = 2")
    assert causes(yard.plan()) == [Cause.SPEC]


def test_a_spec_that_moves_on_to_another_version_does_not_count_as_drift(yard, loopback):
    yard.publish()
    other = loopback.reference(f"{yard.spec.base_image.repository}:3.3-0")
    handmade.put(yard.depot, other, hand_base.base(HOOKED, xgboost="3.3.0"))
    plan = yard.plan(replace(yard.spec, version="3.3-0", base_image=other))
    assert plan.state is State.REBUILD
    assert 'version "3.2-0" → "3.3-0"' in [reason.words for reason in plan.reasons]


def test_an_older_overlay_asks_for_a_rebuild(yard):
    yard.relabel(yard.publish(), **{provenance.OVERLAY_DIGEST: "sha256:older", provenance.TOOL_VERSION: "0.0.9"})
    plan = yard.plan()
    assert causes(plan) == [Cause.OVERLAY]
    assert "0.0.9" in plan.reasons[0].words


def test_an_image_of_a_newer_xgbpatch_is_left_alone_with_a_warning(yard):
    yard.relabel(yard.publish(), **{provenance.OVERLAY_DIGEST: "sha256:newer", provenance.TOOL_VERSION: "99.0"})
    plan = yard.plan()
    assert plan.state is State.CURRENT
    assert ["99.0" in warning for warning in plan.warnings] == [True]


def test_an_image_of_an_xgbpatch_that_kept_less_is_to_be_rebuilt(yard):
    empty = dict.fromkeys((provenance.IMAGE, provenance.ASKED_DIGEST, provenance.HOOKS, provenance.FILES_DIGEST), "")
    yard.relabel(yard.publish(), **empty)
    yard.move(hand_base.base(HOOKED))
    plan = yard.plan()
    assert plan.state is State.REBUILD
    assert Cause.LABELS in causes(plan)
    assert not plan.base_alone


def test_an_alias_that_does_not_name_the_newest_image_asks_for_a_rebuild_until_it_was_rolled_back(yard):
    spec = replace(yard.spec, aliases=("prod",))
    first = yard.publish()
    aliases.promote(yard.depot, first, "prod")
    assert yard.plan(spec).reasons == ()
    yard.move(hand_base.base(note="later"))
    second = yard.publish()
    plan = yard.plan(spec)
    assert causes(plan) == [Cause.ALIAS]
    assert plan.published.reference.digest == second.digest
    aliases.promote(yard.depot, second, "prod")
    assert yard.plan(spec).reasons == ()
    aliases.rollback(yard.depot, yard.place, "prod")
    plan = yard.plan(spec)
    assert plan.reasons == ()
    assert any('"prod" was rolled back' in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("today", "part"),
    [
        (datetime.date(2027, 2, 11), None),
        (datetime.date(2027, 2, 12), "90 more days"),
        (datetime.date(2027, 5, 13), "0 more days"),
        (datetime.date(2027, 5, 14), "has not patched version 3.2-0 since 2027-05-13"),
    ],
    ids=str,
)
def test_the_end_of_patches_is_told_from_90_days_before(yard, today, part):
    yard.publish()
    plan = yard.plan(today=today)
    assert plan.state is State.CURRENT
    assert plan.info.end_of_patch == datetime.date(2027, 5, 13)
    assert [part in warning for warning in plan.warnings] == ([True] if part else [])


def test_a_registry_that_is_gone_is_an_error(yard):
    with pytest.raises(RegistryError):
        planning.plan(yard.depot, yard.spec, ImageReference.parse("127.0.0.1:1/x"), TODAY)


PACKAGED = {
    provenance.PACKAGES: "six==1.16.0",
    provenance.PYTHON: "3.12.8 x86_64 glibc-2.36",
    provenance.BASE_PACKAGES: "xgboost==3.2.0",
}


def test_packages_are_resolved_anew_from_the_labels_and_a_newer_one_is_named(yard, tmp_path, monkeypatch):
    spec = replace(yard.spec, packages=("six>=1.16",))
    yard.relabel(yard.publish(), **PACKAGED, **{provenance.ASKED_DIGEST: asked_digest(spec)})
    with index(tmp_path / "index", "six", "1.17.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        plan = yard.plan(spec)
    assert [(reason.cause, reason.words) for reason in plan.reasons] == [(Cause.PACKAGES, "six 1.16.0 → 1.17.0")]
    assert yard.plan(spec, packages=False).reasons == ()


def test_an_index_that_does_not_answer_is_a_warning(yard, monkeypatch):
    spec = replace(yard.spec, packages=("six>=1.16",))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    yard.relabel(yard.publish(), **PACKAGED, **{provenance.ASKED_DIGEST: asked_digest(spec)})
    plan = yard.plan(spec)
    assert plan.state is State.CURRENT
    assert [warning.startswith("whether a package is newer") for warning in plan.warnings] == [True]


@contextlib.contextmanager
def index(folder, name, version):
    """A package index (PEP 503) with one wheel, on loopback."""
    info, file = f"{name}-{version}.dist-info", folder / name / f"{name}-{version}-py3-none-any.whl"
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    (file.parent / "index.html").write_text(f'<a href="{file.name}#sha256={sha256_of(file)}">{file.name}</a>')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestCommand:
    @pytest.fixture
    def run(self, yard, tmp_path):
        """`run(…)` in a folder with a configuration of two images, one of them published; no engine is reachable."""
        folder = tmp_path / "project"
        folder.mkdir()
        spec = yard.spec
        (folder / "xgbpatch.toml").write_text(
            f'base_image = "{spec.base_image}"\nfeatures = ["shap"]\nrepository = "{spec.repository}"\n'
            "[images.fraud]\n[images.churn]\n"
        )
        yard.publish()

        def command(*arguments, **environment):
            variables = {
                **{name: value for name, value in os.environ.items() if not name.startswith(("XGBPATCH_", "AWS_"))},
                "XDG_CACHE_HOME": str(tmp_path / "caches"),
                "DOCKER_HOST": "tcp://127.0.0.1:1",
                **environment,
            }
            words = command_line("plan", "--registry", yard.loopback.host, *arguments)
            result = subprocess.run(words, capture_output=True, text=True, env=variables, cwd=folder, check=False)
            return SimpleNamespace(code=result.returncode, out=result.stdout, err=result.stderr)

        return command

    def test_exit_codes_follow_the_state(self, run, yard):
        current = run("--image", "fraud", "--json")
        assert current.code == 0, current.err
        assert json.loads(current.out)["images"][0]["state"] == "current"
        yard.move(hand_base.base(note="later"))
        assert run("--image", "fraud").code == 10
        yard.move(hand_base.base(HOOKED))
        drifted = run("--json")
        assert drifted.code == 20, drifted.err
        document = json.loads(drifted.out)
        assert document["exit_code"] == 20
        assert [image["state"] for image in document["images"]] == ["drifted", "rebuild"]
        assert "serve_utils:predict" in json.dumps(document["images"][0]["reasons"])
        assert document["images"][1]["published"] is None

    def test_the_table_has_a_line_an_image_and_its_reasons_below(self, run):
        result = run()
        assert result.code == 10, result.err
        lines = result.out.splitlines()
        assert [line.split()[:3] for line in lines[:3]] == [
            ["IMAGE", "VERSION", "STATE"], ["fraud", "3.2-0", "current"], ["churn", "3.2-0", "rebuild"],
        ]  # fmt: skip
        assert lines[1].split()[-1] == "2027-05-13"
        assert lines[3] == ""
        assert [line.partition(":")[0] for line in lines[4:]] == ["churn"]

    def test_all_means_the_whole_file_whatever_a_variable_says(self, run):
        chosen = run("--json", XGBPATCH_IMAGE="fraud")
        assert [image["name"] for image in json.loads(chosen.out)["images"]] == ["fraud"]
        every = run("--all", "--json", XGBPATCH_IMAGE="fraud")
        assert [image["name"] for image in json.loads(every.out)["images"]] == ["fraud", "churn"]
        both = run("--all", "--image", "fraud")
        assert (both.code, both.out) == (2, "")

    def test_an_image_that_cannot_be_looked_at_does_not_hide_the_others(self, run, yard, tmp_path):
        file = tmp_path / "project" / "xgbpatch.toml"
        text = file.read_text().replace(
            "[images.churn]\n", f'[images.churn]\nbase_image = "{yard.place}:absent-3.2-0"\n'
        )
        file.write_text(text.replace("[images.churn]\n", '[images.churn]\nversion = "3.2-0"\n'))
        result = run("--json")
        assert result.code == 4, result.err
        images = json.loads(result.out)["images"]
        assert [image["state"] for image in images] == ["current", "error"]
        assert images[1]["error"]["exit_code"] == 4
        assert list(images[0]) == list(images[1])
        assert "absent-3.2-0" in result.err
        table = run()
        assert (table.code, table.out.splitlines()[2].split()[2]) == (4, "error")
