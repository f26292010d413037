"""A model and tools that follow a script, neutral of frameworks, and the ledger of what really reached them.

A harness builds its framework's own fake model on `Script.answer` and its tools on `Script.use`. Both count before they
answer, so that a test asserts what the provider saw and not what the adapter says.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from aegis_core.client.agent import GovernedAgent
from aegis_core.client.sync import SyncGovernedAgent

_T = TypeVar("_T")

Mode = Literal["sync", "async", "stream", "astream", "batch"]

MODEL = "gpt-4o-mini"
"""The model of scripts, of the shipped catalog; $0.15 and $0.60 per million tokens."""


@dataclass(frozen=True)
class ToolUse:
    """A call of a tool that the model asks for. Ids may repeat: real models repeat them."""

    tool: str
    arguments: Mapping[str, Any]
    call_id: str


@dataclass(frozen=True)
class Turn:
    """One answer of the scripted model.

    Attributes:
        text: what it says. Streams give it word by word.
        tools: the calls that it asks for instead, all at once.
        usage: input and output tokens that it reports; None: it reports none.
        error: raised instead of an answer, before the first token.
        breaks_after: words streamed before `error` is raised; only in streaming modes.
        seconds: how long the call takes.
    """

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    usage: tuple[int, int] | None = (100, 20)
    error: Exception | None = None
    breaks_after: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class CallMade:
    """One call that reached the model or a tool. `done`: it ran to its end."""

    what: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cap: int | None = None


class ModelScript:
    """Turns in order, the tools, and the ledger of both. After the last turn the model repeats it.

    Args:
        turns: the model's answers.
        tools: implementations by name; each takes its arguments as keywords and answers text.
        user: the user's message.
        model: the model's name, as the provider knows it.
        cap: the output cap that the model is configured with, in tokens.

    Attributes:
        reached: set once the model was called.
    """

    def __init__(
        self,
        *turns: Turn,
        tools: Mapping[str, Callable[..., str]] | None = None,
        user: str = "What is the weather in Bern?",
        model: str = MODEL,
        cap: int | None = 64,
    ) -> None:
        self.turns, self.tools, self.user, self.model, self.cap = turns, dict(tools or {}), user, model, cap
        self.calls: list[CallMade] = []
        self.uses: list[CallMade] = []
        self.input_tokens = self.output_tokens = 0
        self.reached = threading.Event()
        self._lock = threading.Lock()

    def answer(self, *, model: str | None = None, cap: int | None = None) -> Turn:
        """The next turn. The harness's fake model calls this once for each call that the framework really makes.

        Args:
            model: the model that was called; default: the script's.
            cap: the output cap that arrived, where the framework sends one with the call.

        Raises:
            Exception: the turn's own error, unless it breaks a stream later (`Turn.breaks_after`).
        """
        with self._lock:
            turn = self.turns[min(len(self.calls), len(self.turns) - 1)]
            self.calls.append(CallMade(model or self.model, cap=cap))
            if turn.error is None and turn.usage is not None:
                self.input_tokens += turn.usage[0]
                self.output_tokens += turn.usage[1]
        self.reached.set()
        if turn.error is not None and turn.breaks_after is None:
            raise turn.error
        return turn

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Run a tool. The harness's tools call this once for each execution."""
        with self._lock:
            self.uses.append(CallMade(tool, dict(arguments)))
        return self.tools[tool](**arguments)

    @property
    def models(self) -> list[str]:
        """The names of the models that were called."""
        return [entry.what for entry in self.calls]


@dataclass(frozen=True)
class Drive:
    """How one run is driven.

    Attributes:
        mode: by which of the framework's entry points.
        retries: further attempts that the framework is told to make after an error.
        cancel: cancel the run once this is set (`carry_out` does it); async modes only.
        take: leave a stream after so many chunks.
        costs: what tools cost.
        locks: which locks tools hold.
        models: names among which Aegis may choose, for adapters that route.
        density: how hard the work is, for that choice; default: the adapter's own.
        mixed: put each of `models` behind a client of another provider, which takes the cap by a name of its own and
            fails on any other.
        schema: the shape that the answer must have, a class of pydantic, by the framework's own way to ask for one.
        cached: run twice with the framework's own cache on; the second answer comes from it.
        copied: use a deep copy of the governed object. pickled: or one that was pickled.
        fallback: the script of another model, which is named to stand in for the script's own where that fails.
        nested: run the script's agent as a part (subgraph, tool, member) of another governed one.
        approval_seconds: how long a blocking adapter waits for a human.
        thread: names the conversation, where the framework does.
        batch: inputs of one `batch` run.
    """

    mode: Mode = "sync"
    retries: int = 0
    cancel: threading.Event | None = None
    take: int | None = None
    costs: Mapping[str, Any] | Callable[[str, Any], Any] | None = None
    locks: Mapping[str, Any] | Callable[[str, Any], Any] | None = None
    models: tuple[str, ...] = ()
    density: int | None = None
    mixed: bool = False
    schema: type[Any] | None = None
    cached: bool = False
    copied: bool = False
    pickled: bool = False
    fallback: ModelScript | None = None
    nested: bool = False
    approval_seconds: float = 0.0
    thread: str = "thread-1"
    batch: int = 2


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: the final text, what the model was told of each tool call, and what the program caught.

    `parsed`: the answer in the shape that was asked for.
    """

    text: str | None = None
    observations: Sequence[str] = ()
    error: BaseException | None = None
    parsed: object = None


async def carry_out(work: Coroutine[Any, Any, _T], cancel: threading.Event | None) -> _T:
    """Await a run to its end, or cancel it once the event is set: at a moment that a test knows.

    Raises:
        TimeoutError: it was cancelled.
    """
    running = asyncio.ensure_future(work)
    try:
        while cancel is not None and not cancel.is_set() and not running.done():
            await asyncio.wait({running}, timeout=0.01)
        if cancel is None or running.done():
            return await running
    finally:
        running.cancel()
    await asyncio.wait({running})
    if running.cancelled():
        raise TimeoutError
    return running.result()


class Harness(Protocol):
    """What an adapter's test supplies: its governed agent, made of a script, and run once.

    Attributes:
        framework: the adapter's name, for messages.
        modes: the entry points that the framework has.
        lacks: modes and capabilities that the framework cannot have, by the contract's names, each with the reason.
        proofs: of some of them a function that tries, and answers true when the framework really lacks it.
    """

    framework: str
    modes: tuple[Mode, ...]
    lacks: Mapping[str, str]
    proofs: Mapping[str, Callable[[], bool]]

    def run(self, aegis: SyncGovernedAgent | GovernedAgent, script: ModelScript, ask: Drive) -> RunEnd:
        """Build the framework's agent (or bare model, where the script has no tools) and run it to its end.

        Every ordinary exception (also ``CancelledError`` and ``TimeoutError`` of `Ask.cancel`) is returned in the
        outcome, never raised. Async modes bring their own event loop.
        """
        ...
