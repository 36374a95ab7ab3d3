"""Pipelines and CloudFormation templates that keep images current: `xgbpatch ci init`."""

from __future__ import annotations

import json
import re
import shlex
from enum import Enum
from importlib.metadata import distribution
from importlib.metadata import version as installed_version
from typing import Any
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from xgbpatch.aws import require_region
from xgbpatch.catalogue import ShippedTable
from xgbpatch.errors import ConfigurationError
from xgbpatch.provenance import PROJECT

PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
KEEP = (  # `plan`, and `rebuild` without an engine of its own
    *PULL,  # the registry's list of referrers is BatchGetImage's too
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:StartImageScan",
    "ecr:UploadLayerPart",
)
PUSH = ("ecr:BatchDeleteImage",)  # beside KEEP: a push out of an engine lands under a tag that is taken away again
PRUNE = ("ecr:BatchDeleteImage", "ecr:DescribeImages")
USAGE = (  # `usage`, and `prune` with PRUNE: for people, not for a job
    "sagemaker:DescribeAlgorithm",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeHyperParameterTuningJob",
    "sagemaker:DescribeInferenceComponent",
    "sagemaker:DescribeModel",
    "sagemaker:DescribeModelPackage",
    "sagemaker:DescribePipeline",
    "sagemaker:DescribeProcessingJob",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:ListAlgorithms",
    "sagemaker:ListEndpoints",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListInferenceComponents",
    "sagemaker:ListModelPackages",
    "sagemaker:ListModels",
    "sagemaker:ListPipelines",
    "sagemaker:ListProcessingJobs",
    "sagemaker:ListTrainingJobs",
)
INSPECTOR = ("inspector2:ListCoverage", "inspector2:ListFindings")  # beside KEEP, where ECR's scanning is enhanced

_NAME = "xgbpatch[packages]"
EXAMPLE = f"{_NAME} @ git+{PROJECT}@<commit>"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_REQUIREMENT = re.compile(r"(?!.*(?: #|: |:$))[\w.+@:/#=<>~!,\[\] ][\w.+@:/#=<>~!,\[\] -]*")  # no YAML comment, no key


def base_accounts() -> tuple[tuple[str, str], ...]:
    """Region and account of each registry that AWS publishes its images from."""
    hosts = ShippedTable.load().hosts
    return tuple((region, host.split(".", 1)[0]) for region, host in sorted(hosts.items()))


def installed_requirement() -> str:
    """Of the installed xgbpatch; raises `ConfigurationError` where no other machine could install it."""
    installed = distribution("xgbpatch")
    return from_record(installed.version, installed.read_text("direct_url.json") or "")


def from_record(version: str, record: str) -> str:
    """`record` is pip's direct_url.json (PEP 610), empty for what came from a package index."""
    if not record:
        return f"{_NAME}=={version}"
    origin: dict[str, Any] = json.loads(record)
    url = str(origin["url"])
    if url.startswith("file:"):
        path = shlex.quote(unquote(urlsplit(url).path))
        commit = f"$(git -C {path} rev-parse HEAD)" if "dir_info" in origin else "<commit>"
        raise ConfigurationError(
            f'this xgbpatch was installed from "{url}", which a pipeline cannot reach',
            f'Name what it is to install, such as a commit: --requirement "{_NAME} @ git+{PROJECT}@{commit}"',
        )
    checkout, folder = origin.get("vcs_info"), origin.get("subdirectory", "")
    pinned = f"{checkout['vcs']}+{url}@{checkout['commit_id']}" if checkout else url
    return f"{_NAME} @ {pinned}" + (f"#subdirectory={folder}" if folder else "")


class PipelineKind(Enum):
    """For whom a file is written. The value is the name of its template."""

    GITHUB = "github"
    GITLAB = "gitlab"
    CODEBUILD = "codebuild"
    STARTER = "starter"

    @property
    def path(self) -> str:
        """Where the file belongs, relative to the root of the repository."""
        return {
            PipelineKind.GITHUB: ".github/workflows/xgbpatch.yml",
            PipelineKind.GITLAB: ".gitlab-ci.yml",
            PipelineKind.CODEBUILD: "xgbpatch-codebuild.yml",
            PipelineKind.STARTER: "xgbpatch-starter.yml",
        }[self]

    @property
    def takes_role(self) -> bool:
        """A CloudFormation template makes its own roles, in the region that its stack is in."""
        return self in (PipelineKind.GITHUB, PipelineKind.GITLAB)


def render(kind: PipelineKind, requirement: str, role_arn: str = "", region: str = "") -> str:
    """The file's text; raises `ConfigurationError` for an option that cannot be written down.

    `requirement` is what pip installs for xgbpatch; without `role_arn` and `region` the pipeline reads its variables.
    """
    _check(kind, requirement, role_arn, region)
    environment = Environment(  # noqa: S701 — no HTML; square brackets, for the services have a use for curly ones
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
    actions = {"pull": PULL, "keep": KEEP, "prune": PRUNE, "usage": USAGE, "inspector": INSPECTOR}
    return environment.get_template(f"{kind.value}.yml").render(
        version=installed_version("xgbpatch"),
        role_arn=role_arn,
        region=region,
        requirement=requirement,
        script="" if kind is PipelineKind.STARTER else _script(environment, kind),
        bases=base_accounts(),
        **{name: json.dumps(listed) for name, listed in actions.items()},  # YAML lists in one line each
    )


def _script(environment: Environment, kind: PipelineKind) -> str:
    """What the job runs, in POSIX shell: the decisions are the same everywhere, the way to report is the service's."""
    loader = environment.loader
    assert loader is not None
    parts = [loader.get_source(environment, name)[0] for name in ("words.sh", f"{kind.value}.sh", "keep.sh")]
    return "set -eu\n" + "".join(part.rstrip("\n") + "\n" for part in parts).rstrip("\n")


def _check(kind: PipelineKind, requirement: str, role_arn: str, region: str) -> None:
    if (role_arn or region) and not kind.takes_role:
        raise ConfigurationError(
            f'the template "{kind.value}" takes no role and no region',
            "It makes its own roles, in the region of its stack: leave out --role-arn and --region.",
        )
    if region:
        require_region(region)
    for option, value, pattern, example in (
        ("--role-arn", role_arn, _ROLE, "arn:aws:iam::123456789012:role/xgbpatch"),
        ("--requirement", requirement, _REQUIREMENT, EXAMPLE),
    ):
        if (value or option == "--requirement") and not pattern.fullmatch(value):
            raise ConfigurationError(
                f'{option} "{value}" cannot be written into a pipeline', f"It looks like {example}"
            )
