"""A LangGraph planner, a crew and a plain HTTP agent in one workflow, approved by one press on Telegram."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiogram  # noqa: F401 - takes long to load, which the server must not while it starts
import pytest
from aegis_crewai import govern_crew
from aegis_langgraph import GovernedToolNode
from asking import AS_OPERATOR, Asking, asking, on_telegram
from botapi import BotApi, bot_api
from crewai import Crew
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from aegis_core import Settings, Step
from aegis_core.connect import connect_sync
from aegis_core.testing import ModelScript, ToolUse, Turn

from .harness import ScriptedLLM, ScriptedTool
from .test_crew import agent_of, task_of

pytestmark = [pytest.mark.leaves("questions", "grants"), pytest.mark.filterwarnings("ignore")]

PLAN = [
    Step(tool="look", times=2, upto_usd="0.25"),
    Step(tool="pay", times=1, upto_usd="0.50"),
    Step(resource_type="llm_tokens", upto_usd="1"),
    Step(tool="mail", times=2, upto_usd="0.10"),
]


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with bot_api() as api:
        yield api


@pytest.fixture
def place(settings: Settings, telegram: BotApi) -> Iterator[Asking]:
    with asking(on_telegram(settings, telegram)) as served:
        yield served


def look(subject: str) -> str:
    """Look something up."""
    return f"{subject} is fine"


def looked(node: GovernedToolNode, number: int) -> str:
    """What the tool node of a graph answers."""
    graph: Any = StateGraph(MessagesState)
    graph.add_node("tools", node)
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    call = {"name": "look", "args": {"subject": f"ledger {number}"}, "id": f"c{number}", "type": "tool_call"}
    found = graph.compile().invoke({"messages": [AIMessage("", tool_calls=[call])]})
    return str(found["messages"][-1].content)


def test_one_press_approves_all_of_it(place: Asking, telegram: BotApi) -> None:
    def press() -> Any:
        message = telegram.announced()
        telegram.press(message, "APPROVE")
        return message

    pressing = place.pool.submit(press)
    with connect_sync(place.url, tenant=place.settings.tenant) as governor:
        block = governor.workflow("close the books", budget_usd=2, until="1h", plan=PLAN, opener="boss")
        with block as flow:
            message = pressing.result(60)
            for line in ("boss", "4 steps, $2.00 in all", "1 h from its approval on", "2. pay: 1 ×, $0.50 each"):
                assert line in message.text, message.text
            assert "3. llm_tokens: any number, $1.00 in all" in message.text
            assert flow.workflow.approved_by == ("telegram:11",)

            node = GovernedToolNode([look], workflow=flow, costs={"look": "0.25"}, approval_seconds=0)
            assert looked(node, 1) == "ledger 1 is fine"
            pays = Turn(tools=(ToolUse("pay", {"amount": 1}, "a"),))
            script = ModelScript(pays, Turn("Paid."), pays, Turn("Paid."), tools={"pay": lambda amount: "ok"})
            payer = agent_of("Senior Payer", ScriptedLLM(script), [ScriptedTool(script, "pay")])
            crew = Crew(agents=[payer], tasks=[task_of(payer)])
            govern_crew(crew, workflow=flow, costs={"pay": "0.5"}, approval_seconds=0)
            assert crew.kickoff().raw == "Paid."
            plain = _Plain(place, flow.workflow_id, flow.invite(agents="plain"))
            mails = [plain.ask("mail", "0.10") for _ in range(2)]
            assert [(each["status"], each["plan_step"]) for each in mails] == [("GRANTED", 4)] * 2
            plain.settle(mails[0]["grant_id"], "0.033333333")
            assert len(telegram.messages) == 1, "nobody was asked again"

            beyond = plain.ask("mail", "0.10")
            assert (beyond["status"], beyond["workflow_id"]) == ("PENDING", flow.workflow_id)
            asked = telegram.announced(2)  # else it may be over before anybody was asked
            ended = place.http.delete(f"{place.url}/api/v1/workflows/{flow.workflow_id}", headers=AS_OPERATOR).json()
            assert (ended["state"], ended["ended"], ended["ended_by"]) == ("ended", "operator", "operator")
            assert "ended" in looked(node, 2)
            with pytest.raises(Exception, match="workflow"):
                crew.kickoff()
            assert plain.ask("mail", "0.10")["code"] == "workflow_ended"
            plain.settle(mails[1]["grant_id"], "0.1")

            found = flow.report()
            assert {each.agent_id for each in found.members} == {"langgraph", "Senior-Payer", "plain"}
            spent = [
                next(line.spent_usd for line in governor.budget(name).budgets if line.window == "day")
                for name in ("langgraph", "Senior-Payer", "plain")
            ]
            assert sum(spent) == found.used_usd  # to the nano-dollar
            assert Decimal("0.95") < found.used_usd < Decimal("0.951"), "a look, a payment, two mails, and some tokens"
            telegram.shows(asked, "Withdrawn (its workflow ended)")
            assert (found.beside_usd, found.waiting_usd, found.asked, found.open) == (0, 0, 1, 0)


class _Plain:
    """An agent with nothing but HTTP."""

    def __init__(self, place: Asking, workflow_id: str, token: str) -> None:
        self._place, self._api = place, f"{place.url}/api/v1"
        message = {"join_token": token, "agent_id": "plain"}
        answer = place.http.post(f"{self._api}/workflows/{workflow_id}/join", json=message)
        assert answer.status_code == 200, answer.text
        self._session = {"Authorization": f"Bearer {answer.json()['session_token']}"}

    def ask(self, tool: str, usd: str) -> Any:
        wish = {
            "agent_id": "plain", "task_intent": f"Use {tool}", "resource_type": "api_call", "tool": tool,
            "estimated_cost_usd": usd,
        }  # fmt: skip
        return self._place.http.post(f"{self._api}/request-permission", json=wish, headers=self._session).json()

    def settle(self, grant: str, usd: str) -> None:
        body = {"cost_usd": usd}
        answer = self._place.http.post(f"{self._api}/grants/{grant}/settle", json=body, headers=self._session)
        assert answer.status_code == 200, answer.text
