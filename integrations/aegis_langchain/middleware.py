"""The middleware of `create_agent`: chooses the model, and stands before every tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Unpack, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, interrupt

from aegis_core.adapting import CallGovernor, CallWishes, Clearance, Locks, ToolCall, ToolReview
from aegis_core.adapting.call_governor import Costs
from aegis_core.adapting.caps import BY_TABLE
from aegis_core.protocol.denial import AegisDenied
from aegis_langchain.chat_model import GovernedChatModel
from aegis_langchain.fallbacks import one_call
from aegis_langchain.models import Models, name_of, named

_Told = ToolMessage | Command[Any]

_MOST_MADE = 32
"""Governed models that are kept, for agents whose other middleware makes a model for each call."""


class AegisMiddleware(AgentMiddleware[Any, Any, Any]):
    """Governs an agent of `create_agent`. Put it last, so that retries of other middleware are seen one by one.

    A model call is reserved and settled, and goes to the recommended one of `models`. A refused tool call becomes a
    ``ToolMessage``, so that the agent can finish; the third identical one ends the run. A call that needs a person
    interrupts the graph, and where it has no checkpointer waits here. Its lock is taken after that.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        models: the models among which Aegis chooses, as `GovernedChatModel` takes them; default: the agent's own.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        max_output_tokens: the cap of an answer where the model sets none.
        cap_setting: the keyword by which the models take a cap; ``auto``: each by its own; None: they take none.
        intent: what the model calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human where the graph cannot pause.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, or `models` are not chat models.
    """

    def __init__(
        self,
        aegis: object,
        *,
        models: Models | None = None,
        costs: Costs | None = None,
        locks: Locks | None = None,
        max_output_tokens: int = 4_096,
        cap_setting: str | None = BY_TABLE,
        approval_seconds: float = 600,
        intent: str | None = None,
        **wishes: Unpack[CallWishes],
    ) -> None:
        super().__init__()
        self._calls = CallGovernor(
            aegis,
            framework="langchain",
            costs=costs,
            locks=locks,
            max_output_tokens=max_output_tokens,
            approval_seconds=approval_seconds,
            intent=intent,
            **wishes,
        )
        self._review = ToolReview(self._calls, approval_seconds)
        self._models, self._cap_setting = named(models) if models is not None else None, cap_setting
        self._made: dict[int, tuple[BaseChatModel, BaseChatModel]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Let a governed model answer instead. Raises `AegisDenied`."""
        with one_call():
            return handler(self._with_governed(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        with one_call():
            return await handler(self._with_governed(request))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], _Told]) -> _Told:
        """Judge the call, ask a person where one is needed, and run it or say why not."""
        durable = can_pause(request)
        batch = self._review.open([_described(request)], durable=durable)
        while durable and (question := batch.question) is not None:
            batch.answer(interrupt(question))
        (clearance,) = batch.clearances
        if not durable:
            clearance = self._review.wait(clearance)
        work = self._review.begin(clearance, journal=durable) if clearance.state == "granted" else clearance
        if isinstance(work, Clearance):
            return _told(request, work, None if work.state == "done" else self._review.refusal(work))
        try:
            with work.held.inside():
                result = handler(_as_cleared(request, clearance))
        except GraphBubbleUp:
            work.pause()
            raise
        except Exception as error:
            work.fail(str(error))
            raise
        except BaseException:
            work.held.abandon(consumed=True)
            raise
        _ = work.fail(_record(result)) if _failed(result) else work.finish(_record(result))
        return result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[_Told]]
    ) -> _Told:
        """As `wrap_tool_call`."""
        durable = can_pause(request)
        batch = await self._review.aopen([_described(request)], durable=durable)
        while durable and (question := batch.question) is not None:
            await batch.aanswer(interrupt(question))
        (clearance,) = batch.clearances
        if not durable:
            clearance = await self._review.await_(clearance)
        work = await self._review.abegin(clearance, journal=durable) if clearance.state == "granted" else clearance
        if isinstance(work, Clearance):
            return _told(request, work, None if work.state == "done" else await self._review.arefusal(work))
        try:
            with work.held.inside():
                result = await handler(_as_cleared(request, clearance))
        except GraphBubbleUp:
            await work.apause()
            raise
        except Exception as error:
            await work.afail(str(error))
            raise
        except BaseException:
            work.held.abandon(consumed=True)
            raise
        _ = await (work.afail(_record(result)) if _failed(result) else work.afinish(_record(result)))
        return result

    def _with_governed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        names = [each.name for each in request.tools if not isinstance(each, dict)]
        self._calls.names.warn(names)  # other middleware may bring more
        return request.override(model=self._governed(request.model))

    def _governed(self, model: BaseChatModel) -> BaseChatModel:
        """The governed model in front of an agent's own. It is made once: a model is dear to make."""
        if isinstance(model, GovernedChatModel) and self._models is None:
            return model
        found = self._made.get(id(model))
        if found is None or found[0] is not model:
            behind = self._models or {name_of(model): model}
            governed = GovernedChatModel(aegis=self._calls, models=behind, cap_setting=self._cap_setting)
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            self._made[id(model)] = found = (model, governed)
        return found[1]


def can_pause(request: ToolCallRequest) -> bool:
    """Whether the graph has a checkpointer, so that an interrupt can be resumed and a tool may be run again."""
    configurable: Mapping[str, Any] = cast("Any", request).runtime.config.get("configurable") or {}
    return configurable.get("__pregel_checkpointer") not in {None, False}


def _described(request: ToolCallRequest) -> ToolCall:
    call = request.tool_call
    state = request.state
    messages: Any = cast("Mapping[str, Any]", state).get("messages") if isinstance(state, Mapping) else state
    asking = next((each for each in reversed(messages or []) if isinstance(each, AIMessage)), None)
    configurable: Mapping[str, Any] = cast("Any", request).runtime.config.get("configurable") or {}
    thread = configurable.get("thread_id")
    return ToolCall(
        call["name"],
        call["args"],
        call_id=call["id"] if asking is not None and asking.id else None,
        message_id=asking.id if asking is not None else None,
        thread=None if thread is None else str(thread),
    )


def _as_cleared(request: ToolCallRequest, clearance: Clearance) -> ToolCallRequest:
    """The request with the arguments that a person may have edited."""
    if clearance.call.arguments is request.tool_call["args"]:
        return request
    return request.override(tool_call={**request.tool_call, "args": clearance.call.arguments})


def _failed(result: _Told) -> bool:
    return isinstance(result, ToolMessage) and result.status == "error"


def _record(result: _Told) -> Any:
    """What the journal keeps of a result; a command's update is not kept."""
    return result.content if isinstance(result, ToolMessage) else "It ran; what it changed in the state is not kept."


def _told(request: ToolCallRequest, clearance: Clearance, denial: AegisDenied | None) -> ToolMessage:
    """The message for a call that is not run now."""
    if denial is not None and denial.final:
        raise denial
    failed = denial is not None or clearance.failed
    return ToolMessage(
        content=denial.message if denial is not None else clearance.result,
        name=request.tool_call["name"],
        tool_call_id=request.tool_call["id"],
        status="error" if failed else "success",
    )
