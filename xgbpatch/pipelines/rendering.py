"""Rendering a pipeline for the user's repository: values in, text out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version as installed_version

from jinja2 import Environment, PackageLoader, StrictUndefined

from xgbpatch.errors import ConfigurationError
from xgbpatch.pipelines import permissions
from xgbpatch.pipelines.installed import EXAMPLE

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d")
_REQUIREMENT = re.compile(r"(?!.*(?: #|: |:$))[\w.+@:/#=<>~!,\[\] ][\w.+@:/#=<>~!,\[\] -]*")  # no YAML comment, no key


class Kind(Enum):
    """For whom a file is written. The value is the name of its template."""

    GITHUB = "github"
    GITLAB = "gitlab"
    CODEBUILD = "codebuild"
    STARTER = "starter"

    @property
    def path(self) -> str:
        """Where the file belongs, relative to the root of the repository."""
        return _PATHS[self]

    @property
    def takes_role(self) -> bool:
        """A CloudFormation template makes its own roles, in the region that its stack is in."""
        return self in (Kind.GITHUB, Kind.GITLAB)


_PATHS = {
    Kind.GITHUB: ".github/workflows/xgbpatch.yml",
    Kind.GITLAB: ".gitlab-ci.yml",
    Kind.CODEBUILD: "xgbpatch-codebuild.yml",
    Kind.STARTER: "xgbpatch-starter.yml",
}


@dataclass(frozen=True)
class Wishes:
    """`requirement` is what pip installs for xgbpatch.

    `role_arn` and `region` are written into the file; empty, the pipeline reads them from its variables.
    """

    requirement: str
    role_arn: str = ""
    region: str = ""


def render(kind: Kind, wishes: Wishes) -> str:
    """The file's text; raises `ConfigurationError` for a wish that cannot be written down."""
    _check(kind, wishes)
    environment = _environment()
    return environment.get_template(f"{kind.value}.yml").render(
        version=installed_version("xgbpatch"),
        role_arn=wishes.role_arn,
        region=wishes.region,
        requirement=wishes.requirement,
        script="" if kind is Kind.STARTER else _script(environment, kind),
        bases=permissions.base_accounts(),
        pull=_listed(permissions.PULL),
        keep=_listed(permissions.KEEP),
        prune=_listed(permissions.PRUNE),
        usage=_listed(permissions.USAGE),
        inspector=_listed(permissions.INSPECTOR),
    )


def _script(environment: Environment, kind: Kind) -> str:
    """What the job runs, in POSIX shell: the decisions are the same everywhere, the way to report is the service's."""
    loader = environment.loader
    assert loader is not None
    parts = [loader.get_source(environment, name)[0] for name in ("words.sh", f"{kind.value}.sh", "keep.sh")]
    return "set -eu\n" + "".join(part.rstrip("\n") + "\n" for part in parts).rstrip("\n")


def _environment() -> Environment:
    """Square brackets: the services have a use for curly ones themselves."""
    environment = Environment(  # noqa: S701 — no HTML
        loader=PackageLoader("xgbpatch", "templates/ci"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    environment.filters["shell"] = shlex.quote
    return environment


def _listed(actions: Sequence[str]) -> str:
    """As a YAML list in one line."""
    return json.dumps(list(actions))


def _check(kind: Kind, wishes: Wishes) -> None:
    if (wishes.role_arn or wishes.region) and not kind.takes_role:
        raise ConfigurationError(
            f'the template "{kind.value}" takes no role and no region',
            "It makes its own roles, in the region of its stack: leave out --role-arn and --region.",
        )
    for option, value, pattern, example in (
        ("--role-arn", wishes.role_arn, _ROLE, "arn:aws:iam::123456789012:role/xgbpatch"),
        ("--region", wishes.region, _REGION, "us-west-2"),
        ("--requirement", wishes.requirement, _REQUIREMENT, EXAMPLE),
    ):
        if (value or option == "--requirement") and not pattern.fullmatch(value):
            raise ConfigurationError(
                f'{option} "{value}" cannot be written into a pipeline', f"It looks like {example}"
            )
