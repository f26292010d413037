"""The callback: every model and tool call that LangChain announces is asked for first, and settled after it.

It is a plain handler with `raise_error`, because LangChain swallows what other handlers raise in plain runs; in
asynchronous ones it is awaited. It cannot exchange the model nor lower its output cap, and sees no end of a call that
asyncio cancelled: that grant ends at its deadline.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Unpack
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from aegis_core.adapting import CallGovernor, CallWishes, Locks, ModelCall, Reservation, ToolCall, answers_in
from aegis_core.adapting.call_governor import Costs
from aegis_core.adapting.request_settings import ANSWERS
from aegis_core.protocol.process import new_lock
from aegis_langchain.either_way import NOTHING, Act, in_either_way
from aegis_langchain.fallbacks import refuse_stand_in
from aegis_langchain.log import leave_out
from aegis_langchain.shapes import openai_messages, settings_of
from aegis_langchain.usage import Heard, is_cached, read_result

_MOST_OPEN, _MOST_BATCHES = 10_000, 256


class AegisCallbackHandler(BaseCallbackHandler):
    """Governs every model and tool call of the runs that carry it: ``config={"callbacks": [handler]}``.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        intent: what the model calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human; 0: it is refused.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis.
    """

    raise_error = True

    def __init__(
        self,
        aegis: object,
        *,
        costs: Costs | None = None,
        locks: Locks | None = None,
        approval_seconds: float = 600,
        intent: str | None = None,
        **wishes: Unpack[CallWishes],
    ) -> None:
        super().__init__()
        self._calls = CallGovernor(
            aegis, framework="langchain", costs=costs, locks=locks, approval_seconds=approval_seconds, intent=intent,
            **wishes,
        )  # fmt: skip
        self._held: OrderedDict[UUID, Reservation] = OrderedDict()
        self._heard: dict[UUID, Heard] = {}
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._lock = new_lock()

    @in_either_way
    def on_chat_model_start(
        self, serialized: dict[str, object], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: object
    ) -> Act:
        """Reserve. Raises `AegisDenied`, and the model is not called."""
        refuse_stand_in(serialized, kwargs.get("parent_run_id"))  # before anything is held for it
        said = [message for batch in messages for message in batch]
        return self._hold(run_id, _model_call(openai_messages(said), kwargs, said), kwargs)

    @in_either_way
    def on_llm_start(self, serialized: dict[str, object], prompts: list[str], *, run_id: UUID, **kwargs: object) -> Act:
        """The same for models that complete text."""
        said: list[dict[str, object]] = [{"role": "user", "content": prompt} for prompt in prompts]
        return self._hold(run_id, _model_call(said, kwargs), kwargs)

    @in_either_way
    def on_llm_new_token(self, token: object, *, run_id: UUID, **kwargs: object) -> Act:
        """Remember what the provider has answered so far."""
        with self._lock:
            heard = self._heard.setdefault(run_id, Heard())
        heard.add(kwargs.get("chunk"))
        return NOTHING

    @in_either_way
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: object) -> Act:
        """Settle what the provider counted; an answer from LangChain's cache costs nothing."""
        held, heard = self._taken(run_id)
        if held is None:
            return NOTHING
        if is_cached(response):
            return Act(partial(held.settle, cost_usd=0), partial(held.asettle, cost_usd=0))
        reading = heard.reading(held.model) if heard.counted else read_result(response, held.model)
        return Act(partial(held.settle, reading), partial(held.asettle, reading))

    @in_either_way
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> Act:
        """Give the money back where certainly nothing was computed; else charge, see `Reservation.fail`."""
        held, heard = self._taken(run_id)
        if held is None:
            return NOTHING
        return Act(partial(held.fail, error, begun=heard.begun), partial(held.afail, error, begun=heard.begun))

    @in_either_way
    def on_tool_start(
        self,
        serialized: dict[str, object],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, object] | None = None,
        **kwargs: object,
    ) -> Act:
        """Reserve what the tool costs, and take its lock. Raises `AegisDenied`, and the tool does not run."""
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        arguments = input_str if inputs is None else inputs
        self._calls.names.warn_of(name)
        return self._hold(run_id, ToolCall(name, arguments, thread=_thread(kwargs)), kwargs)

    @in_either_way
    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: object) -> Act:
        """Charge it, and give its lock back."""
        held, _ = self._taken(run_id)
        return NOTHING if held is None else Act(held.settle, held.asettle)

    @in_either_way
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> Act:
        """Give the money and the lock back."""
        held, _ = self._taken(run_id)
        if held is None:
            return NOTHING
        held.failed(error)
        return Act(held.release, held.arelease)

    def __copy__(self) -> AegisCallbackHandler:
        return self

    def __deepcopy__(self, memo: object) -> AegisCallbackHandler:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (self._rebuilt, (self._calls,))

    @classmethod
    def _rebuilt(cls, calls: CallGovernor) -> AegisCallbackHandler:
        handler = cls(calls.bridge)
        handler._calls = calls
        return handler

    def _hold(self, run_id: UUID, call: ModelCall | ToolCall, kwargs: Mapping[str, object]) -> Act:
        batch = self._batch_of(kwargs)
        return Act(partial(self._begin, run_id, call, batch), partial(self._abegin, run_id, call, batch))

    def _begin(self, run_id: UUID, call: ModelCall | ToolCall, batch: _Batch) -> None:
        try:
            self._keep(run_id, self._calls.begin(call), batch)
        except BaseException as error:
            leave_out(error)
            batch.dropped = True
            raise
        finally:
            for held in self._dropped(batch):
                held.release()

    async def _abegin(self, run_id: UUID, call: ModelCall | ToolCall, batch: _Batch) -> None:
        try:
            self._keep(run_id, await self._calls.abegin(call), batch)
        except BaseException as error:
            leave_out(error)
            batch.dropped = True
            raise
        finally:
            for held in self._dropped(batch):
                await held.arelease()

    def _keep(self, run_id: UUID, held: Reservation, batch: _Batch) -> None:
        held.enter()
        with self._lock:
            batch.runs.append(run_id)
            self._held[run_id] = held
            if len(self._held) > _MOST_OPEN:  # of cancelled calls, whose grants ended at their deadlines
                self._heard.pop(self._held.popitem(last=False)[0], None)

    def _batch_of(self, kwargs: Mapping[str, object]) -> _Batch:
        """The calls that `generate` announces together, all with the same parameters, before it makes any of them."""
        params = kwargs.get("invocation_params")
        if params is None or kwargs.get("batch_size", 1) == 1:
            return _Batch(params)
        with self._lock:
            found = self._batches.setdefault(id(params), _Batch(params))
            self._batches.move_to_end(id(params))
            if len(self._batches) > _MOST_BATCHES:
                self._batches.popitem(last=False)
        return found

    def _dropped(self, batch: _Batch) -> list[Reservation]:
        """What to give back of a batch of which one call was refused: none of them is made, and none is told."""
        if not batch.dropped:
            return []
        with self._lock:
            runs, batch.runs = batch.runs, []
        return [held for held, _ in map(self._taken, runs) if held is not None]

    def _taken(self, run_id: UUID) -> tuple[Reservation | None, Heard]:
        with self._lock:
            heard = self._heard.pop(run_id, None) or Heard()
            held = self._held.pop(run_id, None)
        if held is not None:
            held.leave()
        return held, heard


class _Batch:
    """Calls that are announced together. Holds their parameters, so that the id of these stays their own."""

    def __init__(self, params: object) -> None:
        self.params = params
        self.runs: list[UUID] = []
        self.dropped = False


def _model_call(
    messages: list[dict[str, object]], kwargs: Mapping[str, Any], said: Sequence[BaseMessage] = ()
) -> ModelCall:
    metadata: Mapping[str, object] = kwargs.get("metadata") or {}
    params: Mapping[str, Any] = kwargs.get("invocation_params") or {}
    model = metadata.get("ls_model_name") or params.get("model") or params.get("model_name")
    caps = (metadata.get("ls_max_tokens"), params.get("max_tokens"), params.get("max_completion_tokens"))
    cap = next((each for each in caps if isinstance(each, int)), None)
    return ModelCall(
        messages,
        params.get("tools") or (),
        str(model or "unknown"),
        max_output_tokens=cap,
        thread=_thread(kwargs),
        answers=answers_in(*(params.get(name) for name in ANSWERS)),
        settings=settings_of(said, {}, params),
    )


def _thread(kwargs: Mapping[str, Any]) -> str | None:
    metadata: Mapping[str, object] = kwargs.get("metadata") or {}
    thread: object = metadata.get("thread_id")
    return None if thread is None else str(thread)
