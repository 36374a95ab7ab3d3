"""A published image on a new base, without an engine: byte for byte what a build makes, or refused with the clause."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from handmade import HandImage, HandLayer, depot_on, put, tar
from handmade_bases import HandBase, stand_in_modules
from publication_parts import registry, xgbpatch

from xgbpatch import context, dockerfile, provenance
from xgbpatch.dockerfile import Recipe
from xgbpatch.engine.client import BuildRequest
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, DriftError, PackageError, RegistryError
from xgbpatch.manifest import DOCKER_CONFIG, DOCKER_LAYER, Descriptor, Manifest, digest_of
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry
from xgbpatch.remote import assembly, transfer
from xgbpatch.remote.blobs import Traffic
from xgbpatch.remote.image import load
from xgbpatch.report import CheckResult, Report, Verdict
from xgbpatch.resolution import Base
from xgbpatch.spec import Architecture, Replacement, Spec, UserFile
from xgbpatch.upkeep import promotion, rebasing
from xgbpatch.upkeep.rebasing import Wish

PACKAGE = "sagemaker_xgboost_container"
OLD = HandBase()
NEW = HandBase(
    patches="-fixed",
    labels={"maintainer": "AWS", "month": "november"},
    environment={"PATH": "/opt/python/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C", "PYTHONPATH": "/opt/ml/code"},
)


@pytest.fixture(scope="module")
def loopback(tmp_path_factory):
    """One registry for all; each test has repositories of its own."""
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The bases' layers are the same from test to test, and inspected once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shop(loopback, cache):
    return Shop(depot_on(cache), loopback.reference(f"r{secrets.token_hex(4)}/image"))


class Shop:
    """A repository of bases, and one of patched images."""

    def __init__(self, depot, images):
        self.depot = depot
        self.images = images
        self.base = replace(images, repository=images.repository.replace("/image", "/base"), tag="3.2-0")

    def publish(self, base):
        """AWS moves its tag to the base."""
        return put(self.depot, self.base, base.image)

    def designed(self, base, **asked):
        spec = Spec(version="3.2-0", region="", base_image=self.base, **{"features": ("shap",), **asked})
        return assembly.render(self.depot, spec, Base(base, "3.2-0", Architecture.AMD64))

    def build(self, base, place=None, **asked):
        """What `build --builder registry` makes of the spec on the base."""
        made = self.designed(base, **asked)
        return assembly.assemble(self.depot, made, (place or self.images).with_tag(made.reference.tag)).reference

    def rebase(self, image, **wish):
        return rebasing.rebase(self.depot, Wish(image, **wish))

    def forge(self, image, change=lambda config: None, layers=None):
        """Put the image's tag on one with another configuration, and other layers (blob, diff ID) where given."""
        found = load(self.depot.registry, image)
        document = json.loads(json.dumps(found.config))
        change(document)
        entries = found.manifest.document["layers"]
        if layers is not None:
            document["rootfs"]["diff_ids"] = [layer.diff_id for layer in layers]
            entries = [self.stored(layer.blob, DOCKER_LAYER) for layer in layers]
        config = self.stored(json.dumps(document).encode(), DOCKER_CONFIG)
        content = {**found.manifest.document, "config": config, "layers": entries}
        manifest = Manifest(json.dumps(content).encode(), found.manifest.media_type)
        return self.depot.registry.put_manifest(image.with_tag(image.tag), manifest)

    def stored(self, content, media_type):
        found = Descriptor(digest_of(content), media_type, len(content))
        transfer.put(self.depot.blobs_of(self.images), io.BytesIO(content), found, Silent())
        return {"mediaType": found.media_type, "size": found.size, "digest": found.digest}


@pytest.fixture
def everything(tmp_path):
    """A file, a replaced module, variables: one of the user's, one over the base's, one equal to the base's."""
    text = stand_in_modules()[f"{PACKAGE}/data_utils.py"]
    module, file = tmp_path / "data_utils.py", tmp_path / "mine.py"
    module.write_text(f"{text}\nMINE = 1\n")
    file.write_text("mine = 1\n")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return {
        "features": ("shap", "training"),
        "fixes": ("ensemble-vote",),
        "files": (UserFile(file, "mine.py"),),
        "replacements": (Replacement(f"{PACKAGE}.data_utils", module, sha256),),
        "environment": (("MINE", "1"), ("LD_LIBRARY_PATH", "/mine"), ("LANG", "C.UTF-8")),
    }


@pytest.mark.parametrize("moment", [None, datetime(2026, 11, 21, tzinfo=timezone.utc)], ids=["of the base", "epoch"])
def test_the_result_is_byte_for_byte_a_build_on_the_new_base(shop, everything, moment):
    shop.depot = replace(shop.depot, moment=moment)
    image = shop.build(shop.publish(OLD), **everything)
    base = shop.publish(NEW)
    rebased = shop.rebase(image)
    assert (rebased.base, rebased.up_to_date, rebased.accepted) == (base, False, ())
    built = shop.build(base, place=replace(shop.images, repository=f"{shop.images.repository}2"), **everything)
    assert (rebased.reference.digest, rebased.reference.tag) == (built.digest, built.tag)
    made = load(shop.depot.registry, rebased.reference)
    assert made.environment["PATH"] == "/opt/xgbpatch/bin:/opt/python/bin:/usr/local/bin:/usr/bin:/bin"
    assert made.environment["PYTHONPATH"] == "/opt/ml/code:/opt/xgbpatch/lib:/opt/xgbpatch/user"
    assert made.environment["XGBPATCH_BASE"] == str(base)
    assert (made.environment["LANG"], made.environment["LD_LIBRARY_PATH"]) == ("C.UTF-8", "/mine"), "the user's own"
    assert (made.labels["month"], made.provenance.base_digest) == ("november", base.digest)


def test_only_the_configuration_is_sent_and_the_bases_new_layers_are_mounted(shop):
    image = shop.build(shop.publish(OLD))
    shop.publish(replace(OLD, patches="-fixed"))
    rebased = shop.rebase(image)
    config = load(shop.depot.registry, rebased.reference).manifest.config
    assert rebased.traffic == Traffic(sent=config.size, mounted=1, present=2)


def test_an_image_that_stands_on_the_new_base_already_is_left_alone(shop, loopback):
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)
    first = shop.rebase(image)
    writes = loopback.writes()
    again = shop.rebase(image)
    assert (again.reference, again.up_to_date) == (first.reference, True)
    assert loopback.writes() == writes


def test_the_base_that_the_image_stands_on_already_leaves_it_as_it_is(shop, loopback):
    image = shop.build(shop.publish(OLD))
    writes = loopback.writes()
    rebased = shop.rebase(image)
    assert (rebased.reference, rebased.up_to_date) == (image, True)
    assert loopback.writes() == writes


def test_a_digest_alone_is_one_of_the_old_bases_repository(shop):
    image = shop.build(shop.publish(OLD))
    base = shop.publish(NEW)
    shop.publish(replace(NEW, patches="-newest"))
    assert shop.rebase(image, to=ImageReference("", "", digest=base.digest)).base.digest == base.digest


def test_a_base_of_another_name_is_remembered_by_it(shop):
    image = shop.build(shop.publish(OLD))
    mirrored = put(shop.depot, shop.base.with_tag("mirrored"), NEW.image)
    made = load(shop.depot.registry, shop.rebase(image, to=mirrored.with_tag("mirrored")).reference).provenance
    assert made.base_name == str(shop.base.with_tag("mirrored"))


def test_a_tag_that_holds_another_image_is_refused(shop):
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)
    put(shop.depot, shop.images.with_tag("taken"), HandImage([tar({"a": b"b"})]))
    with pytest.raises(RegistryError, match="already holds another image"):
        shop.rebase(image, tag="taken")


def test_an_image_named_by_its_alias_gets_the_tag_that_follows_from_its_version_tag(shop):
    old = shop.publish(OLD)
    image = shop.build(old)
    other = shop.build(old, features=())
    shop.depot.registry.put_manifest(image.with_tag(f"a-{image.tag}"), shop.depot.registry.manifest(other))
    prod = shop.depot.registry.put_manifest(image.with_tag("prod"), shop.depot.registry.manifest(image))
    new = shop.publish(NEW)
    assert shop.rebase(prod).reference.tag == image.tag.replace(old.digest[7:19], new.digest[7:19])


def test_an_image_of_which_no_tag_names_its_base_needs_a_new_one(shop):
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)
    prod = replace(image, repository=f"{image.repository}2", tag="prod")
    blobs = load(shop.depot.registry, image)
    places = shop.depot.blobs_of(image), shop.depot.blobs_of(prod)
    transfer.copy(*places, [*blobs.layers, blobs.manifest.config], Silent())
    shop.depot.registry.put_manifest(prod.with_tag("prod"), blobs.manifest)
    with pytest.raises(ConfigurationError, match=r"no tag of .* names its base"):
        shop.rebase(prod)
    assert shop.rebase(prod, tag="3.2-0-november").reference.tag == "3.2-0-november"


def changed(path, old, new):
    return NEW.with_module(f"{PACKAGE}/{path}", old, new)


HOOKED = "algorithm_mode/serve_utils.py"
CLAUSES = {
    "another xgboost": (replace(NEW, distributions={"xgboost": "3.3.0", "numpy": "2.1.0"}), 'xgboost "3.3"'),
    "another Python": (replace(NEW, python="3.13.1"), 'Python "3.13"'),
    "another prefix": (replace(NEW, prefix="opt/venv", environment={}), "/opt/venv/bin/python3.12"),
    "a hook changed": (changed(HOOKED, "def predict(", "def predict(\n    strict, "), "serve_utils:predict"),
}


@pytest.mark.parametrize(("base", "words"), CLAUSES.values(), ids=CLAUSES)
def test_a_base_that_breaks_a_clause_is_refused_by_its_name(shop, base, words):
    image = shop.build(shop.publish(OLD))
    shop.publish(base)
    with pytest.raises(DriftError) as refused:
        shop.rebase(image)
    assert words in refused.value.message
    assert len(shop.depot.registry.tags(shop.images)) == 1
    assert any(words in line for line in shop.rebase(image, accept_drift=True).accepted)


def test_a_replaced_module_that_changed_is_refused(shop, everything):
    image = shop.build(shop.publish(OLD), **everything)
    shop.publish(changed("data_utils.py", "import", "import  os\nimport"))
    with pytest.raises(DriftError, match=f'"{PACKAGE}.data_utils", which the image replaces, has changed'):
        shop.rebase(image)


@pytest.mark.parametrize("hooks", ["", "xgboost:minor=3.2"], ids=["no hooks", "not the replaced module"])
def test_where_the_label_does_not_tell_the_old_base_does(shop, everything, hooks):
    image = shop.build(shop.publish(OLD), **everything)
    image = shop.forge(image, lambda config: config["config"]["Labels"].update({provenance.HOOKS: hooks}))
    shop.publish(changed("data_utils.py", "import", "import  os\nimport"))
    with pytest.raises(DriftError, match="which the image replaces, has changed"):
        shop.rebase(image)


def test_the_old_base_is_not_read_where_its_label_tells_enough(shop, loopback, tmp_path):
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)
    shop.depot = replace(shop.depot, cache=tmp_path)
    before = len(loopback.log.read_text())
    shop.rebase(image)
    asked = loopback.log.read_text()[before:]
    unread, read = (digest_of(one.image.layers[0].blob) for one in (OLD, NEW))
    assert f"GET /v2/{shop.base.repository}/blobs/{read}" in asked
    assert f"GET /v2/{shop.base.repository}/blobs/{unread}" not in asked


def test_a_change_that_no_hook_touches_is_none(shop):
    image = shop.build(shop.publish(OLD))
    shop.publish(
        replace(NEW, modules={f"{PACKAGE}/encoder.py": stand_in_modules()[f"{PACKAGE}/encoder.py"] + "\nA = 1\n"})
    )
    assert shop.rebase(image).accepted == ()


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (replace(NEW, distributions={"xgboost": "3.2.0", "numpy": "2.1.1"}), "numpy==2.1.0"),
        (replace(NEW, distributions={"xgboost": "3.2.0"}), "numpy==2.1.0"),
        (replace(NEW, distributions={"xgboost": "3.2.0", "numpy": "2.1.0", "tabulate": "0.9.0"}), "tabulate is new"),
        (replace(NEW, glibc="2.31"), "glibc 2.36"),
    ],
    ids=["another version", "gone", "now the base's own", "older glibc"],
)
def test_packages_that_were_resolved_beside_other_versions_ask_for_a_rebuild(shop, base, words):
    image = shop.build(shop.publish(OLD))

    def packaged(config):
        config["config"]["Labels"] |= {
            provenance.PACKAGES: "tabulate==0.9.0",
            provenance.BASE_PACKAGES: "numpy==2.1.0,xgboost==3.2.0",
            provenance.PYTHON: "3.12.8 x86_64 glibc-2.36",
        }

    image = shop.forge(image, packaged)
    shop.publish(base)
    with pytest.raises(PackageError) as refused:
        shop.rebase(image, accept_drift=True)
    assert words in refused.value.message
    assert "Rebuild" in refused.value.next_step
    shop.publish(NEW)
    assert not shop.rebase(image).up_to_date


def test_an_image_whose_layers_were_compressed_anew_is_still_itself(shop):
    """`docker push` may do that: other blobs of the same layers."""
    image = shop.build(shop.publish(OLD))
    found = load(shop.depot.registry, image)
    own = read_layer(shop, found.layers[-1].digest)
    again = shop.forge(image, layers=[*(HandLayer(layer.plain, 9) for layer in OLD.image.layers), HandLayer(own, 1)])
    assert load(shop.depot.registry, again).layers != found.layers
    shop.publish(NEW)
    assert (
        load(shop.depot.registry, shop.rebase(again).reference).layers[-1]
        == load(shop.depot.registry, again).layers[-1]
    )


def read_layer(shop, digest):
    with shop.depot.blobs_of(shop.images).opened(digest) as pieces:
        return gzip.decompress(b"".join(pieces))


def lies(shop, image):
    """name → the same image with something that its labels do not say."""
    found = load(shop.depot.registry, image)
    base, own = OLD.image.layers, HandLayer(read_layer(shop, found.layers[-1].digest))
    other = tar({"opt/xgbpatch/lib/evil.py": b"evil = 1\n"})

    def section(**change):
        return lambda config: config["config"].update(change)

    def environment(*pairs):
        return lambda config: config["config"]["Env"].extend(pairs)

    def claims_diff_id_of(layer):
        def change(config):
            config["rootfs"]["diff_ids"][-1] = layer.diff_id

        return change

    return {
        "another base": lambda: shop.forge(image, layers=[HandBase(patches="-x").image.layers[0], *base[1:], own]),
        "no layer of ours": lambda: shop.forge(image, layers=base),
        "a layer missing": lambda: shop.forge(image, layers=[*base[:2], own]),
        "a file more": lambda: shop.forge(image, layers=[*base, own, other]),
        "a file outside": lambda: shop.forge(image, layers=[*base, own, tar({"etc/passwd": b"root::0:0\n"})]),
        "a file taken away": lambda: shop.forge(image, layers=[*base, own, tar({"opt/.wh.python": b""})]),
        "other files": lambda: shop.forge(image, layers=[*base, other]),
        "another layer than its diff ID": lambda: shop.forge(image, claims_diff_id_of(other)),
        "a variable more": lambda: shop.forge(image, environment("LD_PRELOAD=/evil.so")),
        "a base's variable less": lambda: shop.forge(
            image, lambda config: config["config"].update(Env=[p for p in config["config"]["Env"] if "LANG" not in p])
        ),
        "another command": lambda: shop.forge(image, section(Cmd=["sh"])),
        "another user": lambda: shop.forge(image, section(User="nobody")),
    }


LIES = {
    "another base": "not its first layers",
    "no layer of ours": "no layer beyond the base's",
    "a layer missing": "not its first layers",
    "a file more": "files that",
    "a file outside": '"/etc/passwd", which xgbpatch did not put there',
    "a file taken away": '"/opt/.wh.python", which xgbpatch did not put there',
    "other files": "files that",
    "another layer than its diff ID": "unpacks to",
    "a variable more": "LD_PRELOAD",
    "a base's variable less": 'variable "LANG" is missing',
    "another command": '"Cmd" is not the base',
    "another user": '"User" is not the base',
}


@pytest.mark.parametrize(("lie", "words"), LIES.items(), ids=LIES)
def test_an_image_that_is_not_what_it_claims_is_refused(shop, lie, words):
    image = shop.build(shop.publish(OLD))
    forged = lies(shop, image)[lie]()
    shop.publish(NEW)
    with pytest.raises(ContractError) as refused:
        shop.rebase(forged, accept_drift=True)
    assert words in refused.value.message


@pytest.mark.engine
def test_an_image_that_the_engine_built_is_moved_as_well(shop, engine, everything):
    """Its layer is another blob than the registry builder's; all else of the result is the same."""
    base = shop.publish(OLD)
    made = shop.designed(base, **everything)
    destination = shop.images.with_tag(made.reference.tag)
    pulled = engine.pull(base, None, Silent())
    recipe = Recipe(str(base.pinned), "3.2-0", "1", made.patch.environment, provenance.write(made.provenance))
    try:
        with context.packed(dockerfile.render(recipe), made.patch) as stream:
            built = engine.build(BuildRequest(stream, "linux/amd64"), Silent())
        engine.tag(built.id, destination)
        image = destination.with_digest(engine.push(destination, None, Silent()))
    finally:
        engine.remove(destination)
        engine.remove(base.pinned)
    assert engine.image(pulled.id) is None
    base = shop.publish(NEW)
    moved = load(shop.depot.registry, shop.rebase(image).reference)
    built = load(shop.depot.registry, shop.build(base, replace(shop.images, repository="built/image"), **everything))
    assert (moved.environment, moved.labels) == (built.environment, built.labels)
    assert (moved.config["config"], moved.created) == (built.config["config"], built.created)
    assert (moved.layers[:-1], moved.diff_ids[:-1]) == (built.layers[:-1], built.diff_ids[:-1])


def test_an_image_whose_base_is_gone_is_refused(shop):
    base = shop.publish(OLD)
    image = shop.build(base)
    shop.publish(NEW)
    shop.depot.registry.delete(base)
    with pytest.raises(BaseImageError, match="is gone"):
        shop.rebase(image)


def test_an_image_of_another_maker_is_refused(shop):
    image = put(shop.depot, shop.images.with_tag("1"), HandImage([tar({"a": b"b"})]))
    with pytest.raises(ConfigurationError, match="was not made by xgbpatch"):
        shop.rebase(image)


def test_a_rebase_that_is_cut_off_leaves_no_tag_and_goes_on_from_there(shop):
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)

    class CutOff(Registry):
        def put_manifest(self, reference, manifest):
            raise RegistryError("the registry went away")

    patient = shop.depot
    shop.depot = replace(patient, registry=CutOff(lambda reference: None))
    with pytest.raises(RegistryError, match="went away"):
        shop.rebase(image)
    shop.depot = patient
    assert shop.depot.registry.tags(shop.images) == (image.tag,)
    assert shop.rebase(image).traffic.sent == 0


def test_the_command_rebases_and_says_what_it_moved(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = shop.build(shop.publish(OLD))
    base = shop.publish(NEW)
    result = xgbpatch("rebase", f"{image.name}:{image.tag}", "--json", "-q")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["base"] == {"name": str(shop.base), "digest": base.digest}
    assert (document["up_to_date"], document["accepted"], document["aliases"]) == (False, [], [])
    assert document["traffic"]["sent"] > 0
    again = xgbpatch("rebase", document["reference"].replace("@", f":{document['tag']}@"), "--to", base.digest)
    assert (again.returncode, again.stdout) == (0, document["reference"] + "\n")
    assert "is up to date" in again.stderr


def test_an_alias_moves_to_the_result_once_there_is_a_record_that_it_passed(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    image = shop.build(shop.publish(OLD))
    shop.publish(NEW)
    untested = xgbpatch("rebase", str(image), "--alias", "prod")
    assert (untested.returncode, untested.stdout) == (3, ""), "there is no engine to test it on"
    rebased = shop.rebase(image)
    assert rebased.up_to_date
    assert "prod" not in shop.depot.registry.tags(image)
    report = Report("", (CheckResult("serve.ping", Verdict.PASSED, "200", 0.1),))
    promotion.examined(shop.depot, rebased.reference, report, datetime.now(timezone.utc))
    tested = xgbpatch("rebase", str(image), "--alias", "prod", "--json", "-q")
    assert tested.returncode == 0, tested.stderr
    assert [alias["alias"] for alias in json.loads(tested.stdout)["aliases"]] == ["prod"]
    assert shop.depot.registry.head(image.with_tag("prod")).digest == rebased.reference.digest


def test_the_command_exits_20_with_the_difference_where_the_base_drifted(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = shop.build(shop.publish(OLD))
    shop.publish(CLAUSES["a hook changed"][0])
    result = xgbpatch("rebase", str(image))
    assert result.returncode == 20
    assert result.stdout == ""
    assert "serve_utils:predict" in result.stderr
    assert "+    strict," in result.stderr
    assert "--accept-drift" in result.stderr
