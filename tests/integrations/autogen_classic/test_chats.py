"""What is AutoGen's own: group chats, rebuilt clients, code, coroutine tools, and undoing it all."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib
import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aegis_autogen import register_governor, uninstall
from aegis_autogen.functions import group_tool_executor
from autogen import ConversableAgent, GroupChat, GroupChatManager, OpenAIWrapper
from autogen.coding import CodeBlock, CodeResult

from aegis_core.adapting import hash_arguments
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError, ConfigurationError, InvalidRequestError
from aegis_core.store.embedded import join_sync
from aegis_core.testing import Drive, ModelScript, ToolUse, Turn, private_settings
from aegis_core.testing.contract.downtime import shut_down

from .harness import QUIET, Run, ends
from .server import Provider, provider

pytestmark = pytest.mark.concurrent

PRICE = Decimal("0.000027")
"""100 and 20 tokens of gpt-4o-mini."""


@pytest.fixture
def governor(server_url: str, tmp_path: Path) -> Iterator[SyncGovernor]:
    policy = tmp_path / "policy.json"
    rules = [
        {"name": "no-code", "type": "sensitive_intent", "tools": ["execute_code"], "effect": "deny"},
        {"name": "big-spend", "type": "max_cost", "limit_usd": 5},
    ]
    policy.write_text(json.dumps({"schema": 1, "rules": rules}))
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}", policy_file=policy)
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("classic")


@pytest.fixture
def lost() -> Iterator[SyncGovernedAgent]:
    """An agent whose server is gone."""
    handle = join_sync(None, throwaway=True)
    with connect_sync(settings=private_settings(url=handle.url)) as governor:
        agent = governor.handshake("classic")
        shut_down(handle)
        yield agent


def spent(aegis: SyncGovernedAgent) -> Decimal:
    return next(state.spent_usd for state in aegis.budget().budgets if (state.scope, state.window) == ("agent", "day"))


def agent_with(script: ModelScript, name: str = "assistant") -> ConversableAgent:
    run = Run(script, Drive())
    agent = ConversableAgent(name, system_message="", llm_config=run.config(), **QUIET)
    run.activate(agent)
    return agent


def executor_of(**functions: Any) -> ConversableAgent:
    user = ConversableAgent("user", llm_config=False, is_termination_msg=ends, **QUIET)
    user.register_function(functions)
    return user


def calling(tool: str, arguments: str) -> dict[str, Any]:
    call = {"id": "call-1", "type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def select(body: dict[str, Any]) -> str:
    return "bob" if "select the next role" in json.dumps(body).lower() else f"I am {body['model']}."


@pytest.fixture
def shop() -> Iterator[Provider]:
    with provider(select) as running:
        yield running


def group_of(shop: Provider, manager_model: str = "gpt-4o-mini") -> tuple[GroupChatManager, list[ConversableAgent]]:
    members = [
        ConversableAgent(name, system_message="", description=name, llm_config=shop.config("gpt-4o"), **QUIET)
        for name in ("alice", "bob", "carol")
    ]
    group = GroupChat(agents=list(members), messages=[], max_round=3, speaker_selection_method="auto")
    return GroupChatManager(group, llm_config=shop.config(manager_model)), members


def speak(manager: GroupChatManager, first: ConversableAgent, mode: str) -> None:
    if mode == "async":
        asyncio.run(first.a_initiate_chat(manager, message="Who are you?", silent=True))
    else:
        first.initiate_chat(manager, message="Who are you?", silent=True)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_speaker_selection_is_the_managers_call(
    governor: SyncGovernor, aegis: SyncGovernedAgent, shop: Provider, mode: str
) -> None:
    """Nothing but the class-level wrap sees it; members who are governed by themselves pay for themselves."""
    manager, members = group_of(shop)
    chair = governor.handshake("chair")
    register_governor(manager, chair)
    for member in members:
        register_governor(member, aegis)
    speak(manager, members[0], mode)
    assert shop.models.count("gpt-4o-mini") >= 1
    assert spent(chair) == PRICE * shop.models.count("gpt-4o-mini")
    assert spent(aegis) == Decimal("0.00045") * shop.models.count("gpt-4o")
    assert shop.models.count("gpt-4o") >= 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_refused_selection_ends_the_group_chat(
    governor: SyncGovernor, aegis: SyncGovernedAgent, shop: Provider, mode: str
) -> None:
    manager, members = group_of(shop)
    register_governor(manager, aegis)
    governor.set_budget("agent", aegis.agent_id, "day", "0.000001")
    with pytest.raises(AegisDenied, match="Aegis refused this call of gpt-4o-mini"):
        speak(manager, members[0], mode)
    assert shop.requests == []


def test_a_manager_without_governor_selects_at_a_governed_members_expense(
    aegis: SyncGovernedAgent, shop: Provider
) -> None:
    """No call of a group with a governed member goes unseen for want of a registration."""
    manager, members = group_of(shop)
    register_governor(members[1], aegis)
    speak(manager, members[0], "sync")
    assert spent(aegis) >= PRICE * shop.models.count("gpt-4o-mini") > 0


def test_another_models_client_is_that_of_its_entry(aegis: SyncGovernedAgent, shop: Provider) -> None:
    """The agent's own config list says who serves the recommended model."""
    with provider(lambda body: "from the other provider") as other:
        config = shop.config("gpt-4o")
        config["config_list"] += other.config("gpt-4.1-mini")["config_list"]
        agent = ConversableAgent("assistant", system_message="", llm_config=config, **QUIET)
        register_governor(agent, aegis, models=("gpt-4o", "gpt-4.1-mini"))
        reply = agent.generate_reply([{"role": "user", "content": "Hello"}])
        assert (reply, other.models, shop.models) == ("from the other provider", ["gpt-4.1-mini"], [])
        assert other.requests[0]["max_tokens"] == 64


def test_several_answers_of_one_call_are_all_reserved(
    governor: SyncGovernor, aegis: SyncGovernedAgent, shop: Provider
) -> None:
    """Each may be as long as the cap that is sent."""
    governor.set_budget("agent", aegis.agent_id, "day", "0.0003")
    config = shop.config("gpt-4o-mini")
    config["config_list"][0] |= {"n": 8, "max_tokens": 100}
    agent = ConversableAgent("assistant", llm_config=config, human_input_mode="NEVER")
    register_governor(agent, aegis, models="gpt-4o-mini", logic_density=1)
    agent.generate_reply([{"role": "user", "content": "Which?"}])
    (body,) = shop.requests
    assert body["n"] == 8
    assert 16 <= body["max_tokens"] <= 62


def test_a_client_that_autogen_rebuilt_is_governed(aegis: SyncGovernedAgent, shop: Provider) -> None:
    """Registering a function makes a new client; reflection on a chat uses it without saying whose it is."""
    agent = ConversableAgent("assistant", system_message="", llm_config=shop.config("gpt-4o-mini"), **QUIET)
    register_governor(agent, aegis)
    before = agent.client

    @agent.register_for_llm(name="pay", description="Pay.")
    def pay(amount: int) -> str:
        raise AssertionError

    assert agent.client is not before
    agent.generate_reply([{"role": "user", "content": "Hello"}])
    assert spent(aegis) == PRICE
    agent.client.create(messages=[{"role": "user", "content": "Hello again"}])
    assert spent(aegis) == 2 * PRICE


def test_a_copied_executor_keeps_its_governor_and_its_own_functions(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    ran: list[int] = []
    user = executor_of(pay=lambda amount: ran.append(amount) or "paid")
    register_governor(user, aegis, costs={"pay": 3})
    twin = copy.deepcopy(user)
    twin.function_map["pay"] = lambda amount: ran.append(-amount) or "paid"
    reply = twin.generate_reply([calling("pay", '{"amount": 7}')])
    assert (ran, spent(aegis)) == ([-7], 3)
    governor.set_budget("agent", aegis.agent_id, "day", "4")
    reply = twin.generate_reply([calling("pay", '{"amount": 7}')])
    assert "Aegis refused pay(amount=7): it costs up to $3.00 and $1.00" in reply["tool_responses"][0]["content"]
    assert ran == [-7]


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [("pay", "{amount: 7", "must be in JSON format"), ("steal", "{}", "not found")],
)
def test_autogen_tells_the_model_of_malformed_calls(
    aegis: SyncGovernedAgent, tool: str, arguments: str, told: str
) -> None:
    """Nothing runs then, so nothing is asked for or paid."""
    user = executor_of(pay=lambda amount: pytest.fail("ran"))
    register_governor(user, aegis, costs=lambda name, given: 3)
    assert told in user.generate_reply([calling(tool, arguments)])["tool_responses"][0]["content"]
    assert spent(aegis) == 0


def test_an_executor_with_a_way_of_its_own_is_asked_for(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """It may run what AutoGen would not."""
    ran: list[Any] = []

    class Lenient(ConversableAgent):
        def execute_function(self, func_call: Any, *args: Any, **kwargs: Any) -> Any:
            ran.append(func_call)
            return True, {"name": func_call["name"], "role": "function", "content": "done"}

    user = Lenient("user", llm_config=False, **QUIET)
    register_governor(user, aegis, costs={"pay": 3})
    governor.set_budget("agent", aegis.agent_id, "day", "1")
    user.generate_reply([calling("pay", "amount=7")])
    assert ran == []


def test_a_stubborn_model_with_a_coroutine_tool_comes_to_an_end(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """`autogen` 0.14 runs it in a thread that lets no error out, so the chat ends at the executor's next reply."""

    async def pay(amount: int) -> str:
        raise AssertionError

    script = ModelScript(Turn(tools=(ToolUse("pay", {"amount": 7}, "call-1"),)))
    assistant, user = agent_with(script), executor_of(pay=pay)
    for agent in (assistant, user):
        register_governor(agent, aegis, costs={"pay": 7})
    governor.set_budget("agent", aegis.agent_id, "day", "2")
    with pytest.raises(AegisDenied, match="so the run ends") as caught:
        user.initiate_chat(assistant, message="Pay.", silent=True, max_turns=20)
    assert caught.value.final
    assert len(script.calls) <= 4


def test_a_coroutine_tool_does_not_run_while_the_governor_is_down(lost: SyncGovernedAgent) -> None:
    """Its plain chat ends at the executor's next reply, in the governor's own words."""

    async def pay(amount: int) -> str:
        raise AssertionError

    user = executor_of(pay=pay)
    register_governor(user, lost)
    told = user.generate_reply([calling("pay", '{"amount": 7}')])
    assert "cannot be reached" in told["tool_responses"][0]["content"]
    with pytest.raises(AegisError, match="cannot be reached"):
        user.generate_reply([{"role": "user", "content": "And?"}])


class Codes:
    """An executor of code that only counts."""

    class Extractor:
        def extract_code_blocks(self, message: Any) -> list[CodeBlock]:
            return [CodeBlock(code="print(1)", language="python")]

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.code_extractor = self.Extractor()

    def execute_code_blocks(self, code_blocks: list[CodeBlock]) -> CodeResult:
        self.ran += code_blocks
        return CodeResult(exit_code=0, output="1")

    def restart(self) -> None: ...


def test_code_is_asked_for_as_a_tool(aegis: SyncGovernedAgent) -> None:
    """The policy rejects the tool `execute_code`."""
    codes = Codes()
    user = ConversableAgent(
        "user", llm_config=False, human_input_mode="NEVER", code_execution_config={"executor": codes}
    )
    message = {"role": "user", "content": "```python\nprint(1)\n```"}
    assert "execution succeeded" in user.generate_reply([message])
    register_governor(user, aegis)
    reply = user.generate_reply([message])
    assert "execution failed" in reply
    assert "Aegis refused execute_code(" in reply
    assert len(codes.ran) == 1


def test_code_in_the_old_way_is_asked_for_too(aegis: SyncGovernedAgent, tmp_path: Path) -> None:
    config = {"use_docker": False, "work_dir": str(tmp_path)}
    with warnings.catch_warnings():  # `pyautogen` looks for docker and leaves its socket open
        warnings.simplefilter("ignore", ResourceWarning)
        user = ConversableAgent("user", llm_config=False, human_input_mode="NEVER", code_execution_config=config)
        gc.collect()
    register_governor(user, aegis)
    message = {"role": "user", "content": "```python\nopen('ran', 'w').close()\n```"}
    assert "Aegis refused execute_code(" in user.generate_reply([message])
    assert not (tmp_path / "ran").exists()


def test_a_tool_does_not_run_while_the_governor_is_down(lost: SyncGovernedAgent) -> None:
    user = executor_of(pay=lambda amount: pytest.fail("ran"))
    register_governor(user, lost)
    with pytest.raises(AegisError, match="cannot be reached"):
        user.generate_reply([calling("pay", '{"amount": 7}')])


def test_what_was_approved_with_other_arguments_does_not_run_as_it_is(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    """The operator changed the call; the one that the model made is refused, and its money is free."""
    user = executor_of(pay=lambda amount: pytest.fail("ran"))
    register_governor(user, aegis, costs={"pay": 7}, approval_seconds=120)

    with ThreadPoolExecutor(1) as pool:
        replying = pool.submit(user.generate_reply, [calling("pay", '{"amount": 7}')])
        until = time.monotonic() + 60
        while not (waiting := governor.approvals.list()):
            assert time.monotonic() < until
            time.sleep(0.02)
        governor.approvals.decide(
            waiting[0].approval_id, "approve", by="ada", edit={"arguments_hash": hash_arguments({"amount": 1})}
        )
        reply = replying.result()
    assert "Aegis refused pay(amount=7)" in reply["tool_responses"][0]["content"]
    day = next(state for state in aegis.budget().budgets if (state.scope, state.window) == ("agent", "day"))
    assert (day.spent_usd, day.reserved_usd) == (0, 0)


def test_arguments_with_a_key_twice_are_refused_before_anybody_is_asked(
    governor: SyncGovernor, aegis: SyncGovernedAgent
) -> None:
    user = executor_of(pay=lambda amount: pytest.fail("ran"))
    register_governor(user, aegis, costs={"pay": 7})
    with pytest.raises(InvalidRequestError, match="the key 'amount' twice"):
        user.generate_reply([calling("pay", '{"amount": 1, "amount": 7}')])
    assert not governor.approvals.list()


def test_uninstall_undoes_it_all(aegis: SyncGovernedAgent) -> None:
    uninstall()
    create, init = OpenAIWrapper.create, OpenAIWrapper.__init__
    script = ModelScript(Turn("Hello."))
    agent = agent_with(script)
    register_governor(agent, aegis)
    register_governor(agent, aegis)  # once more changes nothing
    assert OpenAIWrapper.create is not create
    agent.generate_reply([{"role": "user", "content": "Hello"}])
    paid = spent(aegis)
    assert paid > 0
    uninstall()
    assert (OpenAIWrapper.create, OpenAIWrapper.__init__) == (create, init)
    assert agent.generate_reply([{"role": "user", "content": "Hello"}]) == "Hello."
    assert (len(script.calls), spent(aegis)) == (2, paid)


def test_the_order_of_the_agents_is_told(aegis: SyncGovernedAgent) -> None:
    user = executor_of()
    with pytest.raises(ConfigurationError, match="takes an agent of AutoGen and then one of Aegis"):
        register_governor(aegis, user)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="aegis= takes an agent of Aegis"):
        register_governor(user, user)


def test_tools_of_group_patterns_stay_governed(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """There an agent that AutoGen makes for itself executes everybody's tools; `pyautogen` 0.2 has no such patterns."""
    if group_tool_executor() is None:
        with pytest.raises(ImportError):
            importlib.import_module("autogen.agentchat.group")
        return
    from autogen.agentchat import initiate_group_chat
    from autogen.agentchat.group.patterns import RoundRobinPattern

    script = ModelScript(Turn(tools=(ToolUse("pay", {"amount": 7}, "call-1"),)), Turn("I could not pay."))
    run = Run(script, Drive())

    def pay(amount: int) -> str:
        raise AssertionError

    agent = ConversableAgent("assistant", system_message="", llm_config=run.config(), functions=[pay], **QUIET)
    run.activate(agent)
    register_governor(agent, aegis, costs={"pay": 7})
    governor.set_budget("agent", aegis.agent_id, "day", "2")
    pattern = RoundRobinPattern(initial_agent=agent, agents=[agent])
    result, *_ = initiate_group_chat(pattern=pattern, messages="Pay.", max_rounds=4)
    assert "Aegis refused pay(amount=7)" in json.dumps(result.chat_history)
