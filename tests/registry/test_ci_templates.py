"""The CloudFormation templates: clean by cfn-lint, and created and deleted as stacks of moto's server.

moto 5.2 makes roles, policies, rules, the topic, the log group, the repository, the bucket and the notebook of a stack.
It passes over AWS::CodeBuild::Project and AWS::IAM::OIDCProvider, whose properties are given to its CodeBuild and IAM
here, and over AWS::SNS::Subscription and TopicPolicy, AWS::S3::BucketPolicy, a role's managed policies and the
template's Rules: those are held to their schemas by cfn-lint, and to the assertions on the text.
"""

from __future__ import annotations

import json
import re
import subprocess
from ast import literal_eval
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from support.aws import ACCOUNT, REGION
from support.documentation import commands, run_by
from xgbpatch.ci import INSPECTOR, PRUNE, PUSH, USAGE, PipelineKind, render

TEMPLATES = [PipelineKind.CODEBUILD, PipelineKind.STARTER]
CONNECTION = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/0a1b2c3d-0000-4000-8000-000000000000"
CODEBUILD = {"SourceLocation": "https://github.com/example/images.git", "ConnectionArn": CONNECTION}
REQUIREMENT = "xgbpatch[packages]==1.0.0"


def parsed(kind: PipelineKind) -> dict[str, Any]:
    """The template as cfn-lint reads it, which is imported here: it takes a second of whoever collects this file."""
    from cfnlint.decode import cfn_yaml

    document: dict[str, Any] = cfn_yaml.loads(render(kind, REQUIREMENT))
    return document


def client(service: str) -> Any:
    """One that waits: the first stack has moto import a dozen services, and a second try of the call would fail."""
    config = Config(read_timeout=900, retries={"total_max_attempts": 1})
    return boto3.client(service, region_name=REGION, config=config)


@contextmanager
def stack(kind: PipelineKind, **parameters: str) -> Iterator[dict[str, str]]:
    """A stack of the template; gives the physical name of each resource, and deletes the stack at the end."""
    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName="xgbpatch-test",
        TemplateBody=render(kind, REQUIREMENT),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (description,) = cloudformation.describe_stacks(StackName="xgbpatch-test")["Stacks"]
    assert description["StackStatus"] == "CREATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName="xgbpatch-test")["StackResources"]
    yield {
        entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in resources if "LogicalResourceId" in entry
    }
    cloudformation.delete_stack(StackName="xgbpatch-test")


def statements(role: str) -> dict[str, Any]:
    """Every statement of a role's own policies, by its `Sid`."""
    iam = client("iam")
    statements: dict[str, Any] = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        document = literal_eval(document) if isinstance(document, str) else document  # moto answers Python's own text
        statements |= {entry.get("Sid", name): entry for entry in document["Statement"]}
    return statements


def managed(arn: str) -> dict[str, Any]:
    document = client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    return {entry.get("Sid", ""): entry for entry in document["Statement"]}


def roles() -> set[str]:
    return {role["RoleName"] for role in client("iam").list_roles()["Roles"]}


def complaints(template: str) -> list[str]:
    """What `cfn-lint --include-checks I` says of it; in this process, which has imported cfn-lint already."""
    from cfnlint.api import lint

    return [match.message for match in lint(template, config={"include_checks": ["I"]})]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_template_passes_cfn_lint(kind: PipelineKind):
    assert complaints(render(kind, REQUIREMENT)) == []


def test_cfn_lint_would_have_noticed():
    template = render(PipelineKind.CODEBUILD, REQUIREMENT)
    assert "PrivilegeMode" in "".join(complaints(template.replace("PrivilegedMode", "PrivilegeMode")))
    assert complaints(f"{template}Conditions:\n  Unused: !Equals [a, a]\n")


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_is_small_enough_to_be_handed_over_as_text(kind: PipelineKind):
    assert len(render(kind, REQUIREMENT).encode()) < 51_200


def test_the_codebuild_stack_exists_and_is_gone_after(aws: str):
    events, iam = client("events"), client("iam")
    with stack(PipelineKind.CODEBUILD, **CODEBUILD, BaseMirror="mirror/sagemaker-xgboost") as deployed:
        rules = {rule["Name"]: rule for rule in events.list_rules()["Rules"]}
        assert rules[deployed["ScheduleRule"]]["ScheduleExpression"] == "cron(17 4 * * ? *)"
        failed = json.loads(rules[deployed["FailureRule"]]["EventPattern"])["detail"]
        assert failed["project-name"] == ["xgbpatch-test-keep-current"]
        assert "FAILED" in failed["build-status"]
        mirrored = json.loads(rules[deployed["MirrorRule"]]["EventPattern"])["detail"]
        assert mirrored["repository-name"] == ["mirror/sagemaker-xgboost"]
        (target,) = events.list_targets_by_rule(Rule=deployed["ScheduleRule"])["Targets"]
        assert target["RoleArn"] == iam.get_role(RoleName=deployed["StartRole"])["Role"]["Arn"]
        assert client("sns").get_topic_attributes(TopicArn=deployed["Topic"])
        assert roles() == {deployed["BuildRole"], deployed["StartRole"]}
    assert roles() == set()
    assert events.list_rules()["Rules"] == []
    assert client("sns").list_topics()["Topics"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []


def test_the_codebuild_role_may_push_to_one_repository_and_pull_the_base(aws: str):
    with stack(PipelineKind.CODEBUILD, **CODEBUILD, RepositoryName="team/xgboost") as deployed:
        allowed = statements(deployed["BuildRole"])
        assert allowed["PushTheImages"]["Resource"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/xgboost"
        base = allowed["PullTheBase"]
        # moto leaves None for AWS::NoValue
        assert [arn for arn in base["Resource"] if arn] == [
            f"arn:aws:ecr:{REGION}:246618743249:repository/sagemaker-xgboost"
        ]
        assert "ecr:PutImage" not in base["Action"]
        assert {name for name, entry in allowed.items() if entry["Resource"] == "*"} == {"Login"}
        assert not re.search("sagemaker:|Delete|inspector2:", json.dumps(allowed))
        assert {"MirrorRule", "InspectorPolicy"} & set(deployed) == set()


def test_the_project_is_one_that_codebuild_takes(aws: str):
    template = parsed(PipelineKind.CODEBUILD)
    codebuild = client("codebuild")
    with stack(PipelineKind.CODEBUILD, **CODEBUILD) as deployed:
        known = {name: default["Default"] for name, default in template["Parameters"].items() if "Default" in default}
        known |= deployed | CODEBUILD | {"AWS::StackName": "xgbpatch-test", "WithTests": True}
        known["BuildRole.Arn"] = client("iam").get_role(RoleName=deployed["BuildRole"])["Role"]["Arn"]
        project = request(resolved(template["Resources"]["Project"]["Properties"], known))
        codebuild.create_project(**project)
        (description,) = codebuild.batch_get_projects(names=["xgbpatch-test-keep-current"])["projects"]
        assert description["environment"]["privilegedMode"] is True
        assert "xgbpatch plan --all" in description["source"]["buildspec"]
        codebuild.delete_project(name=description["name"])
    assert codebuild.list_projects()["projects"] == []


def resolved(node: Any, known: dict[str, Any]) -> Any:
    """A property as CloudFormation would hand it over, with the functions that the templates use."""
    if not isinstance(node, dict):
        return [resolved(item, known) for item in node] if isinstance(node, list) else node
    properties = {name: resolved(value, known) for name, value in node.items()}
    match list(properties.items()):
        case [("Ref", name)]:
            return known[name]
        case [("Fn::GetAtt", path)]:
            return known[".".join(path)]
        case [("Fn::Sub", text)]:
            return re.sub(r"\$\{([^}]+)\}", lambda named: known[named[1]], text)
        case [("Fn::If", (condition, yes, no))]:
            return yes if known[condition] else no
        case _:
            return properties


def request(node: Any) -> Any:
    """Properties under the names of the API's own request."""
    if isinstance(node, list):
        return [request(item) for item in node]
    if not isinstance(node, dict):
        return node
    names = {"BuildSpec": "buildspec"}
    return {names.get(name, name[0].lower() + name[1:]): request(value) for name, value in node.items()}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(PipelineKind.CODEBUILD, CODEBUILD), (PipelineKind.STARTER, {})],
    ids=["codebuild", "starter"],
)
def test_enhanced_scans_are_read_where_the_account_has_them(aws: str, kind: PipelineKind, parameters: dict[str, str]):
    with stack(kind, **parameters, EnhancedScanning="true") as deployed:
        assert statements(deployed["BuildRole"])["ReadEnhancedScans"]["Action"] == [*INSPECTOR]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_no_role_is_allowed_a_wildcard_of_actions(kind: PipelineKind):
    assert "Action: '*'" not in render(kind, REQUIREMENT)
    allowed = [line for line in render(kind, REQUIREMENT).splitlines() if ":*" in line and "Action" in line]
    assert [line.strip() for line in allowed] == (["Action: s3:*"] if kind is PipelineKind.STARTER else [])  # in a Deny


def test_the_starter_stack_exists_and_leaves_only_what_holds_data(aws: str):
    with stack(PipelineKind.STARTER, Notebook="true") as deployed:
        (repository,) = client("ecr").describe_repositories()["repositories"]
        assert repository["repositoryName"] == "xgbpatch/sagemaker-xgboost"
        encrypted = client("s3").get_bucket_encryption(Bucket=deployed["Bucket"])["ServerSideEncryptionConfiguration"]
        assert encrypted["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        (notebook,) = client("sagemaker").list_notebook_instances()["NotebookInstances"]
        assert notebook["InstanceType"] == "ml.t3.medium"
        assert roles() == {deployed["ExecutionRole"], deployed["BuildRole"], deployed["NotebookRole"]}
    assert roles() == set()
    assert client("sagemaker").list_notebook_instances()["NotebookInstances"] == []


def test_the_starter_without_a_notebook_has_none(aws: str):
    with stack(PipelineKind.STARTER) as deployed:
        assert {"NotebookInstance", "NotebookSetup", "NotebookRole", "CiIdentity"} & set(deployed) == set()


def test_the_repository_scans_images_and_expires_untagged_ones_alone():
    repository = parsed(PipelineKind.STARTER)["Resources"]["Repository"]["Properties"]
    assert repository["ImageScanningConfiguration"]["ScanOnPush"] is True  # moto loses it
    (rule,) = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"]["tagStatus"] == "untagged"


def test_the_bucket_is_private_and_speaks_tls_alone():
    resources = parsed(PipelineKind.STARTER)["Resources"]
    blocked = resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]  # moto loses it
    assert (len(blocked), set(blocked.values())) == (4, {True})
    (denied,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Principal"]) == ("Deny", "*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_notebook_starts_with_a_sound_script_that_knows_its_region(aws: str):
    with stack(PipelineKind.STARTER, Notebook="true") as deployed:
        name = deployed["NotebookSetup"].rsplit("/", 1)[-1]
        configuration = client("sagemaker").describe_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName=name
        )
        script = b64decode(configuration["OnStart"][0]["Content"]).decode()
    assert f"AWS_REGION={REGION}" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_one_repository_and_branch_of_gitlab_may_take_the_build_role(aws: str):
    subject = "project_path:example/images:ref_type:branch:ref:main"
    with stack(PipelineKind.STARTER, CiProvider="gitlab", CiSubject=subject) as deployed:
        role = client("iam").get_role(RoleName=deployed["BuildRole"])["Role"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert trust["Condition"]["StringEquals"]["gitlab.com:sub"] == subject


def test_the_stack_that_the_page_deploys_trusts_one_branch(aws: str):
    """As far as the AWS CLI is not needed for it."""
    ((deploy,),) = (list(commands(block.script)) for block in run_by(__file__, "docs/ci.md"))
    position = deploy.index("--parameter-overrides")
    options = dict(zip(deploy[3:position:2], deploy[4:position:2], strict=True))
    assert options["--template-file"] == PipelineKind.STARTER.path
    assert options["--capabilities"] == "CAPABILITY_IAM"
    parameters = dict(word.split("=", 1) for word in deploy[position + 1 :])
    with stack(PipelineKind.STARTER, **parameters) as deployed:
        role = client("iam").get_role(RoleName=deployed["BuildRole"])["Role"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"] == parameters["CiSubject"]


def test_a_provider_needs_a_subject():
    """moto does not look at Rules."""
    template = parsed(PipelineKind.STARTER)
    (rule,) = template["Rules"].values()
    none_is_named = {
        name: {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, "none"]}]} for name in ("CiProvider", "CiSubject")
    }
    assert rule["RuleCondition"] == none_is_named["CiProvider"]
    assert [entry["Assert"] for entry in rule["Assertions"]] == [none_is_named["CiSubject"]]


@pytest.mark.parametrize(
    ("subject", "accepted"),
    [
        ("none", True),
        ("repo:example/images:ref:refs/heads/main", True),
        ("project_path:example/images:ref_type:branch:ref:main", True),
        ("repo:example/*", False),
        ("example/images", False),
        ("", False),
    ],
)
def test_a_subject_names_one_repository(subject: str, accepted: bool):
    pattern = parsed(PipelineKind.STARTER)["Parameters"]["CiSubject"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, subject)) is accepted


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_the_identity_provider_is_one_that_iam_takes(aws: str, provider: str):
    iam = client("iam")
    properties = parsed(PipelineKind.STARTER)["Resources"]["CiIdentity"]["Properties"]
    identity = resolved(properties, {"ForGithub": provider == "github"})
    answer = iam.create_open_id_connect_provider(Url=identity["Url"], ClientIDList=identity["ClientIdList"])
    arn = answer["OpenIDConnectProviderArn"]
    trusted = parsed(PipelineKind.STARTER)["Resources"]["BuildRole"]["Properties"]
    assert f":oidc-provider/{arn.partition(':oidc-provider/')[2]}'" in str(trusted["AssumeRolePolicyDocument"])
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def test_the_build_policy_reaches_one_repository(aws: str):
    with stack(PipelineKind.STARTER, RepositoryName="team/xgboost") as deployed:
        allowed = managed(deployed["BuildPolicy"])
        assert allowed["PushTheImages"]["Resource"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/xgboost"
        assert {name for name, entry in allowed.items() if entry["Resource"] == "*"} == {"Login"}
        assert not re.search("sagemaker:|Delete|inspector2:", json.dumps(allowed))


def test_people_and_the_notebook_may_see_what_is_in_use_and_prune_one_repository(aws: str):
    with stack(PipelineKind.STARTER, RepositoryName="team/xgboost") as deployed:
        allowed = managed(deployed["UsagePolicy"])
        assert allowed["SeeWhatIsInUse"]["Action"] == [*USAGE]
        assert allowed["PruneTheImages"]["Action"] == [*PRUNE]
        assert set(PUSH) <= set(PRUNE), "a push out of an engine is not allowed any more"
        assert allowed["PruneTheImages"]["Resource"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/xgboost"
    resources = parsed(PipelineKind.STARTER)["Resources"]
    attached = {name: str(resources[name]["Properties"]["ManagedPolicyArns"]) for name in ("NotebookRole", "BuildRole")}
    assert {name: "UsagePolicy" in text for name, text in attached.items()} == {
        "NotebookRole": True,
        "BuildRole": False,
    }


def test_the_execution_role_cannot_push(aws: str):
    with stack(PipelineKind.STARTER) as deployed:
        allowed = statements(deployed["ExecutionRole"])
        assert "ecr:BatchGetImage" in allowed["PullTheImages"]["Action"]
        assert "ecr:PutImage" not in json.dumps(allowed)
