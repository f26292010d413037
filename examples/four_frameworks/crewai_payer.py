"""CrewAI: a crew of one agent, governed as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aegis_crewai import govern_crew
from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool  # pyright: ignore[reportUnknownVariableType]
from payer import CAP, COSTS, MODEL, TASK, Payer
from pydantic import PrivateAttr


class ScriptedLLM(BaseLLM):
    """In your program: ``crewai.LLM(model="gpt-4o-mini", max_tokens=64)``."""

    _payer: Payer = PrivateAttr()

    def __init__(self, payer: Payer) -> None:
        super().__init__(model=MODEL, max_tokens=CAP)
        self._payer = payer

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        """One answer, in the shape of CrewAI."""
        answer = self._payer.answer([message["content"] or "" for message in messages])
        self._track_token_usage_internal(
            {"prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens}
        )
        if answer.invoice is None:
            return answer.text
        function = {"name": "pay", "arguments": json.dumps({"invoice": answer.invoice})}
        return [{"id": answer.call_id, "type": "function", "function": function}]

    def supports_function_calling(self) -> bool:
        """It calls its tool natively."""
        return True


def build(payer: Payer) -> Callable[[], str]:
    """The crew, ready to run."""

    @tool("pay")
    def pay(invoice: int) -> str:
        """Pay an invoice."""
        return payer.pay(invoice)

    llm = ScriptedLLM(payer)
    agent = Agent(role="Payer", goal=TASK, backstory="You pay.", llm=llm, tools=[pay], max_iter=100)
    crew: Any = Crew(agents=[agent], tasks=[Task(description=TASK, expected_output="A report", agent=agent)])
    govern_crew(crew, payer.aegis, costs=COSTS, strict=True)
    return lambda: str(crew.kickoff())
