"""Calls have types: keywords mirror messages, both sides have one signature, and a wrong call is an error."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from aegis_core.adapting.call_governor import CallGovernor
from aegis_core.adapting.tool_run import ToolRun
from aegis_core.client import lock_block
from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.client.grants import Grant
from aegis_core.client.leases import Lease
from aegis_core.client.ports import ApprovalsPort, WorkflowsPort
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor, SyncGrant, SyncLease
from aegis_core.client.sync_approvals import SyncApprovals, SyncWorkflows
from aegis_core.protocol import keywords, workflows
from aegis_core.protocol.keywords import LockFields, RequestFields, SettleFields
from aegis_core.protocol.locks import AcquireLock
from aegis_core.protocol.messages import PermissionRequest, SettleRequest
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import Message

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]

SAID_BY_THE_AGENT = {"agent_id", "session_id"}
"""Fields of a request that a session says, and nobody else."""
SAID_BY_LOCK = {"agent_id", "ttl_seconds", "also", "lock_token"}
"""Fields of a lock that the session, or a parameter of `lock` of another name says."""

BOTH_SIDES: tuple[tuple[type, type], ...] = (
    (SyncGovernor, Governor),
    (SyncGovernedAgent, GovernedAgent),
    (SyncGrant, Grant),
    (SyncLease, Lease),
    (SyncApprovals, ApprovalsPort),
    (SyncWorkflows, WorkflowsPort),
)


def hints(of: type) -> dict[str, object]:
    return dict(get_type_hints(of))


def writable(kind: object) -> object:
    """What a caller may write for a field of this type: an amount in any form, any sequence for a tuple."""
    if kind is Decimal:
        return UsdLike
    if get_origin(kind) is tuple:
        return Sequence[get_args(kind)[0]]  # pyright: ignore[reportInvalidTypeArguments] - known when it runs
    if get_origin(kind) in {Union, UnionType}:
        return Union[tuple(map(writable, get_args(kind)))]  # noqa: UP007 - made when it runs
    return kind


def mirrored(message: type, without: set[str]) -> dict[str, object]:
    return {name: writable(kind) for name, kind in hints(message).items() if name not in without}


def test_the_keywords_of_a_request_are_the_fields_of_its_message() -> None:
    expected = mirrored(PermissionRequest, SAID_BY_THE_AGENT | {"task_intent", "model_config"})
    assert hints(RequestFields) == {**expected, "arguments": object}


def test_the_keywords_of_a_settlement_are_the_fields_of_its_message() -> None:
    own = {"response": object, "provider": str | None, "request": Mapping[str, Any] | None}
    unsaid = {"agent_id", "model_config", "within_reservation"}  # the last is said by what reads an answer
    assert hints(SettleFields) == mirrored(SettleRequest, unsaid) | own


def test_the_keywords_of_a_lock_are_the_fields_of_its_message() -> None:
    assert hints(LockFields) == mirrored(AcquireLock, SAID_BY_LOCK | {"model_config"})
    assert lock_block._SAID_ELSEWHERE.keys() == SAID_BY_LOCK  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("message", [workflows.Step, workflows.StepChange, workflows.WorkflowChange])
def test_what_checkers_see_of_a_message_are_its_fields(message: type[Message]) -> None:
    (seen,) = [
        [keyword.arg for keyword in each.args.kwonlyargs]
        for each in ast.walk(ast.parse(inspect.getsource(message)))
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    ]
    assert seen == list(message.model_fields)


@pytest.mark.parametrize("fields", [RequestFields, LockFields, SettleFields])
def test_every_keyword_has_its_documentation(fields: type) -> None:
    tree = ast.parse(inspect.getsource(keywords))
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
    own = classes[fields.__name__]
    inherited = [classes[base.id] for base in own.bases if isinstance(base, ast.Name) and base.id in classes]
    bodies = [each.body for each in (own, *inherited)]
    documented = {
        field.target.id
        for body in bodies
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }
    assert documented == fields.__annotations__.keys()


@pytest.mark.parametrize(("plain", "awaited"), BOTH_SIDES, ids=lambda side: side.__name__)
def test_both_sides_have_the_same_signatures_and_documentation(plain: type, awaited: type) -> None:
    ours: dict[str, Callable[..., object]] = {
        name: method for name, method in vars(plain).items() if inspect.isfunction(method) and not name.startswith("_")
    }
    assert ours
    for name, method in ours.items():
        theirs: Callable[..., object] = getattr(awaited, name)
        assert method.__name__ == name
        assert inspect.signature(method) == inspect.signature(theirs), name
        assert inspect.getdoc(method) == inspect.getdoc(theirs), name
        assert inspect.getdoc(method), name
        assert not inspect.iscoroutinefunction(inspect.unwrap(method)), f"{name} would be awaited by tools that unwrap"


@pytest.mark.parametrize(("of", "name"), [(ToolRun, "finish"), (CallGovernor, "ask")])
def test_what_works_both_ways_is_known_by_its_own_names(of: type, name: str) -> None:
    plain, awaited = getattr(of, name), getattr(of, f"a{name}")
    assert (plain.__name__, awaited.__name__) == (name, f"a{name}")
    assert inspect.iscoroutinefunction(awaited)
    assert not inspect.iscoroutinefunction(inspect.unwrap(plain))
    assert inspect.signature(plain) == inspect.signature(awaited)
    assert inspect.getdoc(plain) == inspect.getdoc(awaited) is not None


class Named:
    """Has a method that works both ways, as far as pickle looks."""

    ask, aask = CallGovernor.ask, CallGovernor.aask


def test_a_bound_method_is_pickled_as_itself() -> None:
    known: Callable[..., object] = Named().ask  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    assert pickle.loads(pickle.dumps(known)).__func__ is CallGovernor.ask


def checked(folder: Path) -> list[str]:
    """What a type checker says of the files of a folder, in strict mode."""
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "reportMissingTypeStubs": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [Path(sys.executable).with_name("pyright"), "--outputjson", "--pythonpath", sys.executable, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return [
        f"{each['range']['start']['line'] + 1}: {each['rule']}"
        for each in json.loads(done.stdout)["generalDiagnostics"]
    ]


@pytest.mark.timeout(400)
def test_right_calls_have_their_types_and_wrong_ones_are_errors(tmp_path: Path) -> None:
    for name in ("api.py", "wrong.py"):
        shutil.copy(HERE / name, tmp_path)
    accepted = (
        (HERE / "wrong.py").read_text().rstrip()
        + """


def accepted(agent: GovernedAgent) -> None:
    agent.lock("wallet", permits=2)  # pyright: ignore[reportCallIssue]
"""
    )
    (tmp_path / "accepted.py").write_text(accepted)
    last = len(accepted.splitlines())
    assert checked(tmp_path) == [f"{last}: reportUnnecessaryTypeIgnoreComment"]
