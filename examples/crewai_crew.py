"""A crew under a budget of $10 a day: offline with a fake model, online where OPENAI_API_KEY is set."""

import json
import os
from typing import Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")

from aegis_crewai import govern_crew
from crewai import LLM, Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool

from aegis_core import connect_sync


class FakeLLM(BaseLLM):
    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> Any:
        self._track_token_usage_internal({"prompt_tokens": 900, "completion_tokens": 40})
        if "Aegis refused" in messages[-1]["content"]:
            return f"I stopped. {messages[-1]['content']}"
        return [{"id": "call", "function": {"name": "pay", "arguments": json.dumps({"dollars": 4})}}]

    def supports_function_calling(self) -> bool:
        return True


@tool("pay")
def pay(dollars: int) -> str:
    """Pay the next supplier."""
    return f"Paid ${dollars}."


make = LLM if "OPENAI_API_KEY" in os.environ else FakeLLM
model = make(model="gpt-4o-mini", max_tokens=200)
buyer = Agent(role="Buyer", goal="Pay three suppliers $4 each", backstory="You pay.", llm=model, tools=[pay])
crew: Any = Crew(agents=[buyer], tasks=[Task(description="Pay them.", expected_output="A report", agent=buyer)])
with connect_sync() as governor:
    print(govern_crew(crew, governor, costs={"pay": 4}))
    print(crew.kickoff())
