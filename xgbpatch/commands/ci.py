"""`xgbpatch ci`: pipelines that keep images current without anybody looking."""

from __future__ import annotations

from pathlib import Path

import click

from xgbpatch.config.settings import FILE_NAME
from xgbpatch.errors import ConfigurationError

_KINDS = ("github", "gitlab", "codebuild", "starter")


@click.group("ci")
def command() -> None:
    """Pipelines for your own repository: plan, rebuild what is behind, report; nobody has to look.

    \b
    Examples:
      xgbpatch ci init github --role-arn arn:aws:iam::123456789012:role/xgbpatch --region us-west-2
      xgbpatch ci init starter
    """


@command.command("init")
@click.argument("kind", type=click.Choice(_KINDS), metavar="github|gitlab|codebuild|starter")
@click.option(
    "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(), metavar="DIRECTORY",
    help="Root of the repository that holds xgbpatch.toml.  [default: the current directory]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that says something else.")
@click.option("--role-arn", default="", metavar="ARN", help="Role to take.  [default: the variable XGBPATCH_ROLE_ARN]")
@click.option("--region", default="", metavar="REGION", help="AWS region.  [default: the variable AWS_REGION]")
@click.option(
    "--requirement", default="", metavar="TEXT",
    help="What pip installs for xgbpatch.  [default: this very one, from where it was installed]",
)  # fmt: skip
def init_(kind: str, directory: Path, force: bool, role_arn: str, region: str, requirement: str) -> None:
    """Write a pipeline, or a CloudFormation template; prints its path.

    github and gitlab: `plan` daily and on demand; where something is behind, `rebuild` and a report; where the base
    has drifted, an issue instead of a push. A role by OpenID Connect, no keys. codebuild: the same as a template,
    started by EventBridge, reporting to SNS. starter: roles, a repository, a bucket and a notebook for a new account.

    \b
    Examples:
      xgbpatch ci init github
      xgbpatch ci init gitlab --role-arn arn:aws:iam::123456789012:role/xgbpatch --region eu-west-1
      xgbpatch ci init codebuild --directory infrastructure
      xgbpatch ci init starter --requirement 'xgbpatch[packages] @ git+https://github.com/xgbpatch/xgbpatch@<commit>'
    """
    from xgbpatch.ci import PipelineKind, installed_requirement, render

    service = PipelineKind(kind)
    path, configuration = directory.resolve() / service.path, directory.resolve() / FILE_NAME
    requirement = requirement or installed_requirement()
    outcome = "written" if write(path, render(service, requirement, role_arn, region), force) else "up to date"
    click.echo(f"{outcome}; it installs {requirement}", err=True)
    if service is not PipelineKind.STARTER and not configuration.exists():
        click.echo(f'warning: there is no "{configuration}": the job would find nothing to keep', err=True)
    click.echo(str(path))


def write(path: Path, text: str, force: bool) -> bool:
    """Write `text` to `path`, whole or not at all; False where it says that already.

    Raises `ConfigurationError` where it says something else and `force` is not given.
    """
    from xgbpatch.util import write_new_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == text.encode():
            return False
        write_new_file(path, text, force)
    except FileExistsError as error:
        raise ConfigurationError(f'"{path}" is there and says something else', "--force replaces it.") from error
    except OSError as error:
        raise ConfigurationError(f'cannot write "{path}": {error.strerror}') from error
    return True
