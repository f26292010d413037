"""CrewAI's side of the contract: a model and tools on a script, in a crew of one agent, driven by every entry point."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import uuid4

from aegis_crewai import GovernedLLM, govern_tools
from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, start
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import BaseTool
from pydantic import BaseModel, PrivateAttr

from aegis_core.testing import Drive, ModelScript, RunEnd, Turn, carry_out

_scripts: dict[str, ModelScript] = {}


class ScriptedLLM(BaseLLM):
    """The script's model. Streams its words one by one where CrewAI streams. Pickles within its process."""

    _key: str = PrivateAttr()
    _hung_up: threading.Event = PrivateAttr()
    _seen: list[Any] = PrivateAttr()

    def __init__(self, script: ModelScript, name: str | None = None) -> None:
        super().__init__(model=name or script.model, max_tokens=script.cap)
        self._key = uuid4().hex
        self._hung_up = threading.Event()
        self._seen = []
        _scripts[self._key] = script

    def __reduce__(self) -> Any:
        return (_unpickled, (self._key, self.model))

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        with llm_call_context():
            return self._answered(messages)

    async def acall(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(self.call, messages, tools)

    def _answered(self, messages: Any) -> Any:
        said = [] if isinstance(messages, str) else messages
        self._seen = [message["content"] for message in said if message["role"] == "tool"]
        turn = _scripts[self._key].answer(model=self.model, cap=self.max_tokens)
        self._hung_up.wait(turn.seconds)
        if self._effective_stream():
            for position, word in enumerate(turn.text.split(" ")[: turn.breaks_after]):
                self._emit_stream_chunk_event(word if position == 0 else " " + word)
        if turn.error is not None:
            raise turn.error
        if turn.usage is not None:
            self._track_token_usage_internal({"prompt_tokens": turn.usage[0], "completion_tokens": turn.usage[1]})
        return answer_of(turn)

    def supports_function_calling(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return 100_000

    @property
    def observations(self) -> list[str]:
        return self._seen

    def hang_up(self) -> None:
        self._hung_up.set()


def _unpickled(key: str, name: str) -> ScriptedLLM:
    return ScriptedLLM(_scripts[key], name)


def answer_of(turn: Turn) -> Any:
    if not turn.tools:
        return turn.text
    return [
        {
            "id": use.call_id,
            "type": "function",
            "function": {"name": use.tool, "arguments": json.dumps(dict(use.arguments))},
        }
        for use in turn.tools
    ]


class _Amount(BaseModel):
    amount: int = 0


class ScriptedTool(BaseTool):
    """One of the script's tools."""

    args_schema: type[BaseModel] = _Amount
    _script: ModelScript = PrivateAttr()

    def __init__(self, script: ModelScript, name: str, **values: Any) -> None:
        super().__init__(name=name, description=f"The tool {name}.", **values)
        self._script = script

    def _run(self, **arguments: Any) -> str:
        return self._script.use(self.name, arguments)


class CrewHarness:
    """`GovernedLLM` and `govern_tools` in a crew of one agent and one task."""

    framework = "CrewAI"
    modes = ("sync", "async", "stream", "astream", "batch")
    lacks: ClassVar = {
        "cache": "CrewAI caches no answers of models",
        "caps": "a model of CrewAI reads its cap from itself; those that are given by name get the agent's",
        "fallbacks": "CrewAI names no model that stands in for another one; a fail-over is the program's own",
        "forking": "a crew hangs in a child that was forked after another crew ran: CrewAI's own threads are not there",
        "cancelled_at_once": "CrewAI calls the model in a thread, which a cancelled kickoff leaves running",
        "abandoned_at_once": "CrewAI reads an abandoned stream to its end in a thread",
    }

    proofs: ClassVar = {"cache": lambda: not any("cache" in name for name in BaseLLM.model_fields)}

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        models = [ScriptedLLM(script, name) for name in ask.models or (script.model,)]
        llm = GovernedLLM(aegis=aegis, models=models, approval_seconds=ask.approval_seconds, logic_density=ask.density)
        if ask.copied:
            llm = copy.deepcopy(llm)
        if ask.pickled:
            llm = pickle.loads(pickle.dumps(llm))
        tools = [ScriptedTool(script, name) for name in script.tools]
        governed = govern_tools(tools, aegis, costs=ask.costs, locks=ask.locks, approval_seconds=ask.approval_seconds)
        crew = crew_of(llm, governed, script.user, ask.retries, stream=ask.mode in {"stream", "astream"})
        crew.tasks[0].output_pydantic = ask.schema
        drivers: dict[str, Callable[[], str]] = {
            "sync": lambda: str(nested(crew) if ask.nested else crew.kickoff()),
            "batch": lambda: str(crew.kickoff_for_each([{"n": str(n)} for n in range(ask.batch)])[0]),
            "stream": lambda: streamed(crew, ask.take),
            "async": lambda: asyncio.run(awaited(crew, ask, models)),
            "astream": lambda: asyncio.run(awaited(crew, ask, models)),
        }
        try:
            text = drivers[ask.mode]()
        except (Exception, asyncio.CancelledError) as error:
            return RunEnd(error=error, observations=models[0].observations)
        output = crew.tasks[0].output  # none where only copies of the crew ran
        return RunEnd(text, models[0].observations, parsed=output.pydantic if output else None)


def crew_of(llm: Any, tools: Any, user: str, retries: int = 0, **values: Any) -> Crew:
    agent = Agent(
        role="Helper", goal="Help", backstory="You help.", llm=llm, tools=tools, max_retry_limit=retries, verbose=False
    )
    task = Task(description=user, expected_output="An answer", agent=agent)
    return Crew(agents=[agent], tasks=[task], verbose=False, **values)


def streamed(crew: Crew, take: int | None) -> str:
    with closing(crew.kickoff()) as stream:
        return "".join(chunk.content for chunk, _ in zip(stream, range(take or 10_000), strict=False))


@contextmanager
def closing(stream: Any) -> Iterator[Any]:
    try:
        yield stream
    finally:
        stream.close()


async def awaited(crew: Crew, ask: Drive, models: list[ScriptedLLM]) -> str:
    try:
        return await carry_out(_body(crew, ask), ask.cancel)
    except (asyncio.CancelledError, TimeoutError):
        for model in models:
            model.hang_up()
        raise


async def _body(crew: Crew, ask: Drive) -> str:
    found: Any = await crew.akickoff()
    if ask.mode == "async":
        return str(found)
    words: list[str] = []
    try:
        async for chunk in found:
            words.append(chunk.content)
            if len(words) == ask.take:
                break
    finally:
        await found.aclose()
    return "".join(words)


def nested(crew: Crew) -> Any:
    """The crew as a step of a flow."""

    class Outer(Flow):  # type: ignore[type-arg]
        @start()
        def step(self) -> Any:
            return crew.kickoff()

    return Outer(suppress_flow_events=True).kickoff()
