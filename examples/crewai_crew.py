"""A crew under a budget of $10 a day: offline with a fake model, online where OPENAI_API_KEY is set."""

import os
from typing import Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")

from aegis_crewai import govern_crew
from crewai import LLM, Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool

from aegis_core import AegisDenied, connect_sync


class FakeLLM(BaseLLM):
    def call(self, messages: Any, *_args: Any, **_kwargs: Any) -> Any:
        self._track_token_usage_internal({"prompt_tokens": 900, "completion_tokens": 40})
        calls = [{"id": "call", "function": {"name": "pay", "arguments": '{"dollars": 4}'}}]
        return f"I stopped. {messages[-1]['content']}" if "Aegis refused" in messages[-1]["content"] else calls

    def supports_function_calling(self) -> bool:
        return True


@tool("pay")
def pay(dollars: int) -> str:
    """Pay the next supplier."""
    return f"Paid ${dollars}."


model = (LLM if "OPENAI_API_KEY" in os.environ else FakeLLM)(model="gpt-4o-mini", max_tokens=200)
buyer = Agent(role="Buyer", goal="Pay three suppliers $4 each", backstory="You pay.", llm=model, tools=[pay])
crew: Any = Crew(agents=[buyer], tasks=[Task(description="Pay them.", expected_output="A report", agent=buyer)])
with connect_sync() as governor:
    print(govern_crew(crew, governor, costs={"pay": 4}))
    try:
        print(crew.kickoff())
    except AegisDenied as denied:  # a refused model call, or a tool that was refused three times
        print("The crew ended within its budget:", denied.message)
