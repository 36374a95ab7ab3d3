"""Building on a real engine: what lands in the image, what does not, and what is refused."""

import contextlib
import gzip
import hashlib
import io
import json
import os
from dataclasses import replace

import pytest

from support.bases import RUN_ID, chosen
from support.layers import tar_of
from support.pipeline import build_spec
from xgbpatch import cache, layout, provenance
from xgbpatch.build import dockerfile, verify
from xgbpatch.build.resolve import resolve
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import Run
from xgbpatch.errors import BaseImageError, BuildError, ContractError, PackageError, ReplacementError
from xgbpatch.inspection import container
from xgbpatch.inspection.container import run_each, run_python
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Replacement, Spec, UserFile

ENCODER = "sagemaker_xgboost_container.encoder"


@pytest.fixture
def definition(builder, spec_of, version):
    spec = spec_of(version)
    return builder.define(spec, resolve(spec, Registry(builder.credentials_for), builder.engine))


def test_the_previous_image_is_the_newest_of_the_spec_in_its_repository(builder, make_image):
    labels = {provenance.IMAGE: f"moved-{RUN_ID}", provenance.SPEC_DIGEST: "sha256:1", provenance.VERSION: "1.5-1"}
    image, spec = make_image(labels), Spec("3.2-0", "", name=f"moved-{RUN_ID}")
    name = ImageReference.parse(image.tags[0]).with_tag("other")
    assert builder.previous(spec, name).version == "1.5-1"
    assert builder.previous(spec, ImageReference.parse("xgbpatch-test/elsewhere:1")) is None
    assert builder.previous(replace(spec, name="other"), name) is None


def test_the_base_is_pinned_and_nothing_of_it_differs(builder, patched, base_of, version):
    built = patched(version)
    base = builder.engine.image(base_of(version))
    before = container.list_files(builder.engine, base, builder.cache / "facts")
    difference = container.compare_files(before, container.list_files(builder.engine, built.image, None))
    assert difference.outside == ()
    assert difference.added
    assert len(before) > 5000
    assert built.image.layers[: len(base.layers)] == base.layers
    assert len(built.image.layers) == len(base.layers) + 1


def test_provenance_reads_back(patched, base_of, builder, version):
    built = patched(version)
    origin = provenance.read(built.image.labels)
    assert origin.base_digest == builder.engine.image(base_of(version)).id
    assert origin.version == version
    assert built.reference.tag == f"{version}-{origin.base_digest[7:19]}-{origin.spec_digest[7:15]}"
    for name in ("multi-models", "accept-bind-to-port"):
        assert built.image.labels[f"com.amazonaws.sagemaker.capabilities.{name}"] == "true"


def test_pythonpath_is_extended_never_replaced(patched, base_of, builder, version):
    base = builder.engine.image(base_of(version)).environment.get("PYTHONPATH")
    ours = patched(version).image.environment["PYTHONPATH"]
    assert ours == (layout.OVERLAYS if base is None else f"{base}:{layout.OVERLAYS}")


def test_the_same_spec_is_not_built_twice(builder, patched, spec_of, version):
    first = patched(version)
    second = build_spec(builder, spec_of(version))
    assert second.up_to_date
    assert second.image.id == first.image.id


def test_facts_are_kept_by_digest(builder, base_of, version, tmp_path):
    base = builder.engine.image(base_of(version))
    container.inspect(builder.engine, base, builder.cache / "facts")
    (facts_file,) = (builder.cache / "facts").glob(f"{base.id[7:]}-????????.json.gz")
    changed = json.loads(gzip.decompress(facts_file.read_bytes()))
    changed["python"]["prefix"] = "/from/the/cache"
    cache.write(tmp_path / facts_file.name, changed)
    assert container.inspect(builder.engine, base, tmp_path).python.prefix == "/from/the/cache"


@pytest.fixture(scope="module")
def equipment(builder, spec_of, version, tmp_path_factory):
    """The definition of an image with a user's file and variable, a replaced module and a package."""
    folder = tmp_path_factory.mktemp("user")
    spec = spec_of(version)
    encoder = builder.define(spec, resolve(spec, None, builder.engine)).facts.modules[ENCODER]
    (folder / "my_module.py").write_text("ANSWER = 42\n")
    (folder / "encoder.py").write_text(encoder.source + "\nREPLACED = True\n")
    spec = replace(
        spec,
        files=(UserFile(folder / "my_module.py", "pkg/my_module.py"),),
        environment=(("MY_TEXT", 'a "quoted" $HOME \\ value'),),
        replacements=(Replacement(ENCODER, folder / "encoder.py", encoder.sha256),),
        packages=("colorama==0.4.6",),
    )
    return builder.define(spec, resolve(spec, None, builder.engine))


@pytest.fixture(scope="module")
def equipped(builder, equipment):
    built = builder.build(equipment, equipment.reference)
    yield built
    builder.engine.remove(built.reference)


def test_a_users_module_is_importable(builder, equipped):
    script = "import os; from pkg.my_module import ANSWER; print(ANSWER, os.environ['MY_TEXT'])"
    assert run_python(builder.engine, equipped.image.id, script) == '42 a "quoted" $HOME \\ value\n'


def test_a_replaced_module_is_the_users_and_the_base_file_stays(builder, equipped, definition):
    base = definition.facts.modules[ENCODER]
    script = (
        f"import {ENCODER} as e, hashlib; print(e.REPLACED, e.__file__); "
        f"print(hashlib.sha256(open({base.path!r}, 'rb').read()).hexdigest())"
    )
    output = run_python(builder.engine, equipped.image.id, script).splitlines()
    assert output == [f"True {layout.REPLACEMENTS}/{ENCODER}.py", base.sha256]


def test_a_package_lands_beside_the_base(builder, equipped):
    script = "import colorama; print(colorama.__file__)"
    assert run_python(builder.engine, equipped.image.id, script).startswith(f"{layout.PACKAGES}/lib/python3.")
    assert provenance.read(equipped.image.labels).packages == ("colorama==0.4.6",)


def test_a_replacement_for_another_base_stops_the_build(builder, spec_of, definition, version, tmp_path):
    path = tmp_path / "encoder.py"
    path.write_text(definition.facts.modules[ENCODER].source)
    wrong = hashlib.sha256(b"older").hexdigest()
    with pytest.raises(ReplacementError, match="From the base's file to yours"):
        build_spec(builder, replace(spec_of(version), replacements=(Replacement(ENCODER, path, wrong),)))


def test_a_package_that_would_move_the_base_stops_the_build_and_names_both(builder, spec_of, definition, version):
    numpy = definition.facts.distributions["numpy"].version
    with pytest.raises(PackageError) as caught:
        build_spec(builder, replace(spec_of(version), packages=("numpy!=" + numpy,)))
    assert f"numpy=={numpy}" in caught.value.message
    assert f"numpy!={numpy}" in caught.value.message


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_an_image_that_is_no_base_is_refused_with_what_is_missing(builder, base_of, version):
    engine = builder.engine
    image = derived(engine, base_of(version), "RUN rm $(command -v train) && rm $(command -v serve)")
    with pytest.raises(BaseImageError, match='no command "serve"'):
        container.inspect(engine, image, None)
    engine.remove(image.id)
    image = derived(engine, base_of(version), "ENV SAGEMAKER_TRAINING_MODULE=\nRUN rm $(command -v train)")
    with pytest.raises(BaseImageError, match='lacks command "train"'):
        container.inspect(engine, image, None)
    engine.remove(image.id)


@pytest.fixture(scope="module")
def findings(builder, equipment, equipped):
    """What verification says of an image with one change of each kind."""
    instructions = [instruction for instruction, _ in CHANGES.values()]
    commands = [text.removeprefix("RUN ") for text in instructions if text.startswith("RUN ")]
    others = [text for text in instructions if not text.startswith("RUN ")]
    run = "RUN " + " && ".join(f"( {command} )" for command in commands)  # in one container
    image = derived(builder.engine, str(equipped.reference), "\n".join([*others, run]))
    base = builder.pull(equipment.base)
    try:
        with pytest.raises(ContractError) as caught:
            verify.verify(builder.engine, equipment, base=base, image=image, folder=builder.cache / "facts")
        return caught.value.message.splitlines()[1:]
    finally:
        builder.engine.remove(image.id)


NEEDY = """RUN cd /opt/xgbpatch/packages/lib/python3.*/site-packages && mkdir needy-1.0.dist-info && cd needy* \\
 && printf 'Metadata-Version: 2.1\\nName: needy\\nVersion: 1.0\\nRequires-Dist: nobody\\n' > METADATA"""
SWAP = """RUN cd /opt/xgbpatch/lib/xgbpatch_overlays && sed 's/one table/ONE table/' settings.py > /tmp/other \\
 && touch -r settings.py /tmp/other && mv /tmp/other settings.py"""  # of the same size and time
CHANGES = {
    "a changed file": ("RUN echo x >> /etc/nginx/mime.types", "changed /etc/nginx/mime.types"),
    "a file elsewhere": ("RUN touch /opt/other", "added /opt/other"),
    "a removed file": ("RUN rm /etc/nginx/nginx.conf", "removed /etc/nginx/nginx.conf"),
    "a variable": ("ENV SM_MODEL_DIR=/elsewhere", 'variable "SM_MODEL_DIR"'),
    "a label": ("LABEL com.amazonaws.sagemaker.capabilities.multi-models=false", "multi-models"),
    "a setting": ('CMD ["sh"]', 'setting "Cmd"'),
    "another content": (SWAP, "/opt/xgbpatch/lib/xgbpatch_overlays/settings.py is not what was put there"),
    "a file more": ("RUN touch /opt/xgbpatch/lib/evil.py", "added /opt/xgbpatch/lib/evil.py"),
    "a lost overlay": ("RUN rm /opt/xgbpatch/lib/xgbpatch_overlays/serve.py", "do not import"),
    "a package that lacks another": (NEEDY, "pip check says: needy 1.0 requires nobody"),
}


def test_verification_takes_one_container(builder, equipment, equipped, monkeypatch):
    runs = []
    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda *arguments: (runs.append(arguments[1]), run(*arguments))[1])
    base = builder.pull(equipment.base)  # whose files are known
    verify.verify(builder.engine, equipment, base=base, image=equipped.image, folder=builder.cache / "facts")
    assert [each.image for each in runs] == [equipped.image.id]


def test_scripts_of_one_container_end_with_the_first_that_fails(builder, equipped):
    scripts = ("print('first', end='')", "raise SystemExit('second')", "print('third')")
    answers, error = run_each(builder.engine, equipped.image.id, *scripts)
    assert (answers, error.message.rpartition(": ")[2]) == (["first"], "second")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("version", chosen(), scope="session")
def test_verification_finds(findings, change):
    assert [line for line in findings if CHANGES[change][1] in line]


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_verification_finds_nothing_else(findings):
    lost = "/opt/xgbpatch/lib/xgbpatch_overlays/serve.py is not in the image"
    needy = [line for line in findings if "added /opt/xgbpatch/packages/" in line]
    assert len(findings) == len(CHANGES) + 1 + len(needy), findings
    assert len(needy) == 2, "a folder and a file"
    assert f"  {lost}" in findings


@pytest.fixture
def named(builder, definition):
    """`named(image)` calls an image by a name of the tests' own, which is gone afterwards."""
    name = replace(definition.reference, repository=f"xgbpatch-tests/identity-{RUN_ID}")

    def call(image):
        builder.engine.tag(image.id, name)
        return name

    yield call
    builder.engine.remove(name)


def foreign(builder, patched, version, instruction):
    """An image on ours, with its labels."""
    return derived(builder.engine, str(patched(version).reference), instruction)


@pytest.mark.parametrize(
    "instruction",
    ["RUN echo evil > /etc/motd", "ENV SAGEMAKER_SERVING_MODULE=evil:main", 'CMD ["sh"]'],
    ids=["a file", "a variable", "a command"],
)
@pytest.mark.parametrize("version", chosen(), scope="session")
def test_an_image_built_on_ours_is_refused_under_its_name_and_stays(
    builder, patched, definition, named, version, instruction
):
    image = foreign(builder, patched, version, instruction)
    name = named(image)
    label = f"{provenance.CREATED}={definition.provenance.created}"  # not those of another run on this engine

    def alike():  # another worker of this run may build with features meanwhile
        images = builder.engine.images(label)
        return {each.id for each in images if provenance.read(each.labels) == definition.provenance}

    before = alike()
    assert image.id in before
    with pytest.raises(BuildError, match="has the labels of the image that is to be built, and is another"):
        builder.build(definition, name)
    assert builder.engine.image(name).id == image.id
    assert alike() == before


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_an_image_of_another_maker_keeps_its_name(builder, definition, named, base_of, version):
    name = named(builder.engine.image(base_of(version)))
    with pytest.raises(BuildError, match="that xgbpatch did not make"):
        builder.build(definition, name)
    assert builder.engine.image(name).id == builder.engine.image(base_of(version)).id


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_an_image_that_no_cache_knows_is_compared_with_what_is_built_now(
    builder, patched, definition, named, tmp_path, version
):
    """A record tells nothing of an image whose ID it does not name."""
    ours = patched(version).image
    name = named(ours)
    record = tmp_path / "verified" / f"{ours.id.removeprefix('sha256:')}.json.gz"
    cache.write(record, {"image": "sha256:" + "0" * 64})
    (tmp_path / "facts").symlink_to(builder.cache / "facts")
    lines = []
    progress = type("Lines", (Silent,), {"line": lambda self, text: lines.append(text)})()
    elsewhere = replace(builder, cache=tmp_path, progress=progress)
    for compared in (True, False):
        lines.clear()
        built = elsewhere.build(definition, name)
        assert (built.up_to_date, built.image.id) == (True, ours.id)
        assert any("Verifying" in line for line in lines) is compared


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_the_image_that_was_verified_is_not_verified_again_under_another_name(
    builder, patched, definition, version
):  # fmt: skip
    ours, lines = patched(version).image, []
    progress = type("Lines", (Silent,), {"line": lambda self, text: lines.append(text)})()
    name = replace(definition.reference, repository=f"xgbpatch-tests/again-{RUN_ID}")
    try:
        built = replace(builder, progress=progress).build(definition, name)
    finally:
        builder.engine.remove(name)
    assert (built.up_to_date, built.image.id) == (False, ours.id)
    assert lines[0].startswith("Building")
    assert not any("Verifying" in line for line in lines)


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_triggers_of_a_base_are_found_by_all_that_they_changed(builder, spec_of, base_of, version):
    triggers = [
        'ONBUILD CMD ["sh"]', "ONBUILD HEALTHCHECK CMD true", "ONBUILD ENV EVIL=1", "ONBUILD LABEL evil=1",
        "ONBUILD USER nobody",
    ]  # fmt: skip
    base = derived(builder.engine, base_of(version), "\n".join(triggers))
    name = ImageReference.parse(f"xgbpatch-tests/triggers-{RUN_ID}:{version}")
    builder.engine.tag(base.id, name)
    try:
        with pytest.raises(ContractError) as refused:
            build_spec(builder, replace(spec_of(version), base_image=name))
    finally:
        builder.engine.remove(name)
    for what in ('setting "Cmd"', 'setting "Healthcheck"', 'variable "EVIL"', 'label "evil"', 'setting "OnBuild"'):
        assert what in refused.value.message


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_a_build_that_fails_verification_gets_no_name_and_is_discarded(builder, definition, monkeypatch):
    of_definition, label = dockerfile.of_definition, f"xgbpatch-tests.unverified={RUN_ID}"
    monkeypatch.setattr(
        dockerfile,
        "of_definition",
        lambda definition: of_definition(definition) + f"\nRUN rm /etc/nginx/nginx.conf\nLABEL {label}\n",
    )
    name = replace(definition.reference, repository=f"xgbpatch-tests/unverified-{RUN_ID}")
    images = []
    verified = verify.verify

    def verify_and_look(engine, *arguments, **named):
        images.extend(engine.images(label))
        verified(engine, *arguments, **named)

    monkeypatch.setattr(verify, "verify", verify_and_look)
    before = builder.engine.leftovers(os.getpid())  # containers that tests of this worker share
    with pytest.raises(ContractError, match="nginx"):
        builder.build(definition, name)
    assert builder.engine.image(name) is None
    assert len(images) == 1, "the image was there, and is gone"
    assert builder.engine.images(label) == []
    assert builder.engine.leftovers(os.getpid()) == before


def test_containers_are_removed_however_they_end(builder, base_of, version):
    run = Run(base_of(version), ("-c", "sleep 60"), entrypoint=("/bin/sh",))
    before = builder.engine.leftovers(os.getpid())
    with contextlib.suppress(ZeroDivisionError), builder.engine.container(run) as container:
        assert container.running
        raise ZeroDivisionError
    assert builder.engine.leftovers(os.getpid()) == before


def derived(engine, base, instruction):
    """An image with one instruction on top of `base`."""
    context = tar_of([("Dockerfile", f"FROM {base}\n{instruction}\n".encode())])
    return engine.build(io.BytesIO(context), "linux/amd64", Silent(), no_cache=True)
