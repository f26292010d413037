"""The recorded airline runs as a chat model and tools of LangChain."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from integrations.airline import CAP, MODEL, TOOL_USD, Flight

from .harness import wait_for_operator


class FlightChat(BaseChatModel):
    """Answers as recorded, and reports the usage that the recording's formula gives."""

    model_name: str = MODEL
    _flight: Flight = PrivateAttr()

    def __init__(self, flight: Flight) -> None:
        super().__init__()
        self._flight = flight

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_model_name": self.model_name, "ls_max_tokens": CAP}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        last = messages[-1]
        assert isinstance(last, HumanMessage | ToolMessage)
        answer = self._flight.answer(last.text)
        usage: Any = {
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
        if answer.tool is None:
            message = AIMessage(answer.text, usage_metadata=usage)
        else:
            call = convert_call(answer.tool, answer.arguments, answer.call_id)
            message = AIMessage("", tool_calls=[call], usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


def convert_call(tool: str, arguments: str, call_id: str) -> Any:
    import json

    return {"name": tool, "args": json.loads(arguments), "id": call_id, "type": "tool_call"}


def recorded_tools(flight: Flight) -> list[BaseTool]:
    """The tools that a run calls, each answering in recorded order."""

    def made(name: str) -> BaseTool:
        def run(**arguments: Any) -> str:
            return flight.use(name, arguments)

        schema = {"type": "object", "properties": {}, "additionalProperties": True}
        return StructuredTool(name=name, description=f"The tool {name}.", args_schema=schema, func=run)

    return [made(name) for name in flight.run.tools]


def cost(tool: str, arguments: Any) -> Any:
    """What every tool costs."""
    return TOOL_USD


def fly(agent: Any, flight: Flight, aegis: Any) -> None:
    """Every exchange of a run through the agent, which keeps the history itself; pauses wait for the operator."""
    config = {"configurable": {"thread_id": flight.run.name}, "recursion_limit": 300}
    for exchange in flight.run.exchanges:
        state = agent.invoke({"messages": [HumanMessage(exchange.user)]}, config)
        while interrupts := state.get("__interrupt__"):
            state = agent.invoke(wait_for_operator(aegis, interrupts), config)
        assert state["messages"][-1].text == exchange.answers[-1].text
