"""The roles in the templates and the IAM tables of the pages allow exactly the calls that xgbpatch makes.

What a command calls is read from the source: the modules that it imports, and which methods of our one door to AWS
these use. Names that are all capitals are constants, and bring no calls with them.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import boto3
import pytest

import xgbpatch
from xgbpatch.catalogue import image_uri
from xgbpatch.ci import INSPECTOR, KEEP, PRUNE, PULL, PUSH, USAGE, base_accounts
from xgbpatch.reference import EcrRegistry

ROOT = Path(xgbpatch.__file__).parent
PAGE = ROOT.parent / "docs/upkeep.md"
COMMANDS = ("build", "plan", "rebuild", "push", "usage", "prune")
ELSEWHERE = {
    "ecr:GetAuthorizationToken",  # has a statement of its own: no resource can be named
    "ecr:CreateRepository",  # the repository is there: the starter template makes it, or the user
}
BY_HTTP = {*PULL, "ecr:ListImages"}  # the registry's own API: manifests, blobs and lists of tags
WRITES = {"ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"}
REPOSITORY = {"ecr:CreateRepository", "ecr:DescribeRepositories"}  # made where it is missing, by who publishes
SHARED = {  # reading and writing are in the same modules, and these commands read
    "build": {*WRITES, *REPOSITORY},
    "plan": {*WRITES, *REPOSITORY},
    "usage": {*WRITES, *REPOSITORY, "ecr:BatchDeleteImage"},
    "prune": {*WRITES, *REPOSITORY},
}
OTHER_BUILDER = {  # than the one that the command is allowed without a word more
    "build": ("xgbpatch.build.registry", "xgbpatch.publish", "xgbpatch.publish.attachments"),
    "rebuild": ("xgbpatch.build.engine", "xgbpatch.publish.push"),
}


ACTION = re.compile(r"`([\w:]*[A-Z]\w+)`")


def module_name(path: Path) -> str:
    parts = ("xgbpatch", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    ours = [path for path in ROOT.rglob("*.py") if not {"standin", "overlays"} & set(path.parts)]
    return {module_name(path): ast.parse(path.read_text()) for path in ours}


@cache
def imported(tree: ast.Module) -> set[str]:
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names if not alias.name.isupper()}
            imports |= names
            imports |= {node.module} if names - set(modules()) else set()  # who takes a module needs nothing beside it
    return imports & set(modules())


def reached(*entries: str, without: tuple[str, ...] = ()) -> set[str]:
    """Those modules and all that they import; the door itself and the package's own front are left out."""
    names: set[str] = set()
    todo = [*entries]
    while todo:
        name = todo.pop()
        if name not in names and name not in ("xgbpatch", *without) and not name.startswith("xgbpatch.aws"):
            names.add(name)
            todo += imported(modules()[name])
    return names


@cache
def api() -> dict[str, str]:
    """boto3's method → the action behind it."""
    actions = {}
    for service in ("ecr", "sagemaker"):
        client = boto3.client(service, region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b")
        methods = client.meta.method_to_api_mapping
        actions |= {method: f"{service}:{action}" for method, action in methods.items()}
    return actions


@cache
def door() -> dict[str, dict[str, set[str]]]:
    """class of the door → its method → the actions that this asks for, whatever it calls in between."""
    actions = {}
    for tree in (tree for name, tree in modules().items() if name.startswith("xgbpatch.aws.")):
        for group in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            bodies = {node.name: words(node) for node in group.body if isinstance(node, ast.FunctionDef)}
            actions[group.name] = {name: asked(name, bodies, set()) for name in bodies}
    return actions


def words(node: ast.AST) -> set[str]:
    named = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
    return named | {item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and item.value in api()}


def asked(name: str, bodies: dict[str, set[str]], visited: set[str]) -> set[str]:
    visited.add(name)
    own = {api()[word] for word in bodies[name] & set(api())}
    return own.union(*(asked(other, bodies, visited) for other in bodies[name] & set(bodies) - visited))


def calls(names: set[str]) -> set[str]:
    return set().union(*(calls_of(name) for name in names))


@cache
def calls_of(module: str) -> set[str]:
    nodes = list(ast.walk(modules()[module]))
    mentioned = {node.id for node in nodes if isinstance(node, ast.Name)}
    invoked = {node.func for node in nodes if isinstance(node, ast.Call)}
    attributes = {function.attr for function in invoked if isinstance(function, ast.Attribute)}
    groups = set(door()) & mentioned
    return set().union(*(door()[group][method] for group in groups for method in attributes & set(door()[group])))


def table(*also: str) -> dict[str, set[str]]:
    """command → the actions that the table of the page allows it, those with a condition only where it is in `also`."""
    lines = PAGE.read_text(encoding="utf-8").split("\n## IAM\n")[1].splitlines()
    allowed: dict[str, set[str]] = {command: set() for command in COMMANDS}
    for line in (line for line in lines if line.startswith("| `")):
        actions, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        service = "sagemaker:" if "`sagemaker:`" in actions else ""
        named = {service + name for name in ACTION.findall(actions)}
        for command, cell in zip(COMMANDS, cells, strict=True):
            allowed[command] |= named if cell in ("yes", *also) else set()
    return allowed


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_allows_each_command_the_calls_that_it_makes_and_no_others(command):
    own = reached(f"xgbpatch.commands.{command}", without=OTHER_BUILDER.get(command, ()))
    actions = calls(own) - SHARED.get(command, set())
    allowed = table()[command] - set(INSPECTOR)
    assert actions, "the source is not read any more"
    assert actions - allowed == set()
    assert allowed - actions - BY_HTTP == set()


@pytest.mark.parametrize(
    ("command", "builder", "more"), [("rebuild", "docker", set(PUSH)), ("build", "registry", {*WRITES, *REPOSITORY})]
)
def test_the_other_builder_has_cells_of_its_own(command, builder, more):
    allowed = table(f"`--builder {builder}`")[command]
    assert allowed - table()[command] == more
    assert calls(reached(f"xgbpatch.commands.{command}")) - allowed == set()


@pytest.mark.parametrize("command", ["build", "push"])
def test_the_readme_allows_the_same(command):
    rows = (ROOT.parent / "README.md").read_text(encoding="utf-8").splitlines()
    named = [re.findall(r"`(ecr:\w+)`", row) for row in rows if row.startswith(("| `build`", f"| `{command}`"))]
    assert set().union(*named) == table()[command] - set(INSPECTOR)


def test_the_role_of_a_job_is_allowed_plan_and_rebuild_alone():
    assert set(KEEP) == (table()["plan"] | table()["rebuild"]) - ELSEWHERE - set(INSPECTOR)
    assert set(KEEP) & (set(PRUNE) | set(USAGE)) == set()


def test_the_policies_for_people_add_push_usage_and_prune():
    assert set(PUSH) == table()["push"] - set(KEEP) - ELSEWHERE - set(INSPECTOR)
    assert {*PRUNE, *USAGE} == (table()["usage"] | table()["prune"]) - ELSEWHERE - set(PULL)


def test_every_call_of_the_door_is_some_commands():
    all_actions = set().union(*(actions for group in door().values() for actions in group.values()))
    rows = (ROOT.parent / "docs/explain.md").read_text(encoding="utf-8").partition("## IAM")[2]
    explain = {f"sagemaker:{name}" for name in re.findall(r"`(?:sagemaker:)?([A-Z]\w+)`", rows)}
    assert all_actions - explain - set().union(*table().values()) == set()


def test_what_looks_at_sagemaker_changes_nothing():
    assert all(re.match(r"sagemaker:(List|Describe)", action) for action in USAGE)


def test_the_accounts_are_those_of_the_bases():
    assert len(base_accounts()) > 30
    for region, account in base_accounts():
        assert image_uri("3.2-0", region).ecr == EcrRegistry(account, region)
