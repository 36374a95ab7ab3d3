"""One AWS on loopback for all of these tests, and the command line pointed at it."""

import os
from dataclasses import replace

import pytest

from support import commands, compressed_bases
from support.bases import TEST_BASE, chosen
from support.loopback_aws import ACCOUNT, PAGES_REPOSITORY, PIPELINE_REPOSITORY, REGION, UPKEEP_REPOSITORY
from support.sandbox.regions import first_address
from xgbpatch import sandbox
from xgbpatch.progress import Silent
from xgbpatch.provenance import BASE_NAME
from xgbpatch.sandbox import registries


@pytest.fixture(scope="session")
def cloud(engine, base_of, registry_on_path, tmp_path_factory):
    """Environment variables that point the command line at a sandbox of its own, with the bases pushed.

    The layers are there before: no push compresses a gigabyte, and no copy sends it by ECR's calls.
    """
    options = sandbox.SandboxOptions(
        account=ACCOUNT,
        regions=(REGION,),
        versions=() if TEST_BASE else chosen(),
        first_address=first_address(REGION),
        state=tmp_path_factory.mktemp("state") / "sandbox",
    )
    users = (PIPELINE_REPOSITORY, UPKEEP_REPOSITORY, PAGES_REPOSITORY, "fraud")  # the last one is docs/library.md's
    repositories = ((compressed_bases.REPOSITORY,), users)  # AWS's, and the user's
    try:
        state = sandbox.up(replace(options, versions=()), Silent())
        for version in options.versions:
            for registry, names in zip(state.registries, repositories, strict=True):
                store = registries.store(registry, state)
                for repository in names:
                    compressed_bases.add_layers(engine, base_of(version), version, store, repository)
        state = sandbox.up(options, Silent())  # pushes the bases
        yield {**os.environ, **sandbox.environment(state), "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    finally:
        sandbox.down(options, images=True)
        for image in engine.images(BASE_NAME, PAGES_REPOSITORY):
            for name in image.tags:
                engine.remove(name)


@pytest.fixture(scope="session")
def xgbpatch(cloud, tmp_path_factory):
    """`xgbpatch(arguments…)`: stdout of a command that must succeed; its folder keeps no state between commands."""
    folder = tmp_path_factory.mktemp("work")

    def run(*arguments: str) -> str:
        result = commands.xgbpatch(*arguments, environment=cloud, folder=folder)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.strip()

    return run
