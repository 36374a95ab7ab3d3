"""`rebase` refuses an image whose labels do not fit its layers and its configuration."""

from __future__ import annotations

import tarfile

import pytest

from support.handmade import HandImage, HandLayer, plain_layer, put, tar
from support.handmade_bases import HandBase
from support.rebasing import NEW, OLD
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError
from xgbpatch.registry.client import load_image


def test_an_image_whose_layers_were_compressed_anew_is_still_itself(repositories):
    """`docker push` may do that: other blobs of the same layers."""
    image = repositories.build(repositories.publish(OLD))
    pushed = load_image(repositories.services.registry, image)
    own = plain_layer(repositories.services, image)
    again = repositories.forge(
        image, layers=[*(HandLayer(layer.plain, 9) for layer in OLD.image.layers), HandLayer(own.plain, 1)]
    )
    assert load_image(repositories.services.registry, again).layers != pushed.layers
    repositories.publish(NEW)
    assert (
        load_image(repositories.services.registry, repositories.rebase(again).reference).layers[-1]
        == load_image(repositories.services.registry, again).layers[-1]
    )


CAPABILITIES = "com.amazonaws.sagemaker.capabilities"


def lies(repositories, image):
    """name → the same image with something that its labels do not say."""
    base, own = OLD.image.layers, plain_layer(repositories.services, image)
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
        "another base": lambda: repositories.forge(
            image, layers=[HandBase(patches="-x").image.layers[0], *base[1:], own]
        ),
        "no layer of ours": lambda: repositories.forge(image, layers=base),
        "a layer missing": lambda: repositories.forge(image, layers=[*base[:2], own]),
        "a file more": lambda: repositories.forge(image, layers=[*base, own, other]),
        "a file outside": lambda: repositories.forge(image, layers=[*base, own, tar({"etc/passwd": b"root::0:0\n"})]),
        "a file taken away": lambda: repositories.forge(image, layers=[*base, own, tar({"opt/.wh.python": b""})]),
        "other files": lambda: repositories.forge(image, layers=[*base, other]),
        "another layer than its diff ID": lambda: repositories.forge(image, claims_diff_id_of(other)),
        "a variable more": lambda: repositories.forge(image, environment("LD_PRELOAD=/evil.so")),
        "a base's variable less": lambda: repositories.forge(
            image, lambda config: config["config"].update(Env=[p for p in config["config"]["Env"] if "LANG" not in p])
        ),
        "another command": lambda: repositories.forge(image, section(Cmd=["sh"])),
        "another user": lambda: repositories.forge(image, section(User="nobody")),
        "triggers": lambda: repositories.forge(image, section(OnBuild=["RUN evil"])),
        "a setting in other letters": lambda: repositories.forge(image, section(entrypoint=["sh"])),
        "a section in other letters": lambda: repositories.forge(image, lambda config: config.update(Config=None)),
        "a variable twice": lambda: repositories.forge(image, environment("LANG=C.UTF-8")),
        "a base's label less": lambda: repositories.forge(
            image, lambda config: config["config"]["Labels"].pop("month")
        ),
        "a label more": lambda: repositories.forge(
            image, lambda config: config["config"]["Labels"].update({f"{CAPABILITIES}.multi-models": "true"})
        ),
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
    "triggers": '"OnBuild" is not the base',
    "a setting in other letters": '"entrypoint" is not the base',
    "a section in other letters": '"Config twice" is not the base',
    "a variable twice": '"Env" is not the base',
    "a base's label less": 'the label "month" is not',
    "a label more": 'multi-models" is not the base',
}


@pytest.mark.parametrize(("lie", "words"), LIES.items(), ids=LIES)
def test_an_image_that_is_not_what_it_claims_is_refused(repositories, lie, words):
    image = repositories.build(repositories.publish(OLD))
    forged = lies(repositories, image)[lie]()
    repositories.publish(NEW)
    with pytest.raises(ContractError) as refused:
        repositories.rebase(forged, accept_drift=True)
    assert words in refused.value.message


def test_a_layer_with_a_header_without_end_is_refused_before_it_fills_the_memory(repositories):
    image = repositories.build(repositories.publish(OLD))
    header = tarfile.TarInfo("opt/xgbpatch/a")
    header.pax_headers = {"comment": "x" * (2 << 20)}
    forged = repositories.forge(image, layers=[*OLD.image.layers, HandLayer(header.tobuf(tarfile.PAX_FORMAT))])
    repositories.publish(NEW)
    with pytest.raises(BaseImageError, match="unpacks to more"):
        repositories.rebase(forged)


def test_an_image_of_another_maker_is_refused(repositories):
    image = put(repositories.services, repositories.images.with_tag("1"), HandImage([tar({"a": b"b"})]))
    with pytest.raises(ConfigurationError, match="was not made by xgbpatch"):
        repositories.rebase(image)
