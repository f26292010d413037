"""A model client in front of another: it reserves, calls the recommended model, settles, and releases on error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Unpack

from autogen_core import CancellationToken
from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage, ModelInfo, RequestUsage
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from aegis_autogen.agentchat.behind import Behind, settings_of
from aegis_autogen.agentchat.cancellation import linked
from aegis_autogen.agentchat.final_denials import raise_if_stopped
from aegis_autogen.agentchat.shapes import received_text, shaped_messages, shaped_tools
from aegis_autogen.agentchat.streaming import usage_stream
from aegis_core.adapting import Attempts, CallGovernor, CallWishes, ModelCall, Reservation, answers_in, read_counts
from aegis_core.adapting.caps import BY_TABLE, cap_in, smallest_cap
from aegis_core.adapting.standing_in import warn_of_fail_over
from aegis_core.adapting.tool_names import shown
from aegis_core.protocol.errors import ConfigurationError


class GovernedChatCompletionClient(ChatCompletionClient):
    """Give it to every agent and every selector in place of `inner`; it is the only way to their model.

    A refusal raises `AegisDenied` before the model is called. Out of a team it comes as a `RuntimeError` that holds
    its text; ``AegisDenied.from_exception(error)`` finds it.

    Args:
        inner: the client that calls the model.
        aegis: an agent of Aegis: `Governor.handshake`, or `SyncGovernor.handshake`.
        models: clients by model name among which Aegis chooses for each call, in place of `inner`.
        model: the model of `inner`, where its configuration does not say.
        max_output_tokens: the cap on an answer; it is sent with each call. A lower one of `inner` stays.
        cap_argument: by which argument of a call the cap is sent; ``auto``: each client's own, as its class, settings
            and model say; None: there is none. Then what `inner` is configured with is reserved, else the
            model's maximum.
        intent: what the calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human; 0: it is refused.
        thread: names the conversation, for observers.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is no agent of Aegis, or the model's name is not known.
    """

    component_type = "model"

    def __init__(
        self,
        inner: ChatCompletionClient,
        aegis: object,
        *,
        models: Mapping[str, ChatCompletionClient] | None = None,
        model: str | None = None,
        max_output_tokens: int = 4_096,
        cap_argument: str | None = BY_TABLE,
        approval_seconds: float = 600,
        intent: str | None = None,
        thread: str | None = None,
        **wishes: Unpack[CallWishes],
    ) -> None:
        self._calls = CallGovernor(
            aegis,
            framework="autogen",
            max_output_tokens=max_output_tokens,
            approval_seconds=approval_seconds,
            intent=intent,
            **wishes,
        )
        for each in (inner, *(models or {}).values()):
            if not isinstance(each, ChatCompletionClient):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(
                    "GovernedChatCompletionClient takes a model client of AutoGen and then an agent of Aegis; for a "
                    f"client it was given {shown(each)}.",
                    code="not_a_client",
                )
        warn_of_fail_over((inner, *(models or {}).values()), GovernedChatCompletionClient)
        self._inner, self._models = Behind.of(inner), {name: Behind.of(each) for name, each in (models or {}).items()}
        self._model = model or self._inner.model
        if not self._models and not self._model:
            raise ConfigurationError(
                f"{type(inner).__name__} does not say which model it calls, so its price is not known; give model=.",
                code="unknown_model",
            )
        self._cap_argument, self._thread = cap_argument, thread

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, object] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """Ask, call, settle."""
        attempts, behind, extra = await self._begin(messages, tools, json_output, extra_create_args, cancellation_token)
        try:
            with attempts.running():
                result = await behind.client.create(
                    messages,
                    tools=tools,
                    tool_choice=tool_choice,
                    json_output=json_output,
                    extra_create_args=extra,
                    cancellation_token=cancellation_token,
                )
        except BaseException as error:
            await attempts.afail(error)
            raise
        await _settle(attempts.held, result)
        return result

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, object] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """The same for a stream. One that breaks or is left after its first words is charged as reserved."""
        attempts, behind, extra = await self._begin(messages, tools, json_output, extra_create_args, cancellation_token)
        begun = False

        def stream(**more: Any) -> AsyncGenerator[str | CreateResult, None]:
            return behind.client.create_stream(
                messages, tools=tools, tool_choice=tool_choice, json_output=json_output, extra_create_args=extra,
                cancellation_token=cancellation_token, **more,
            )  # fmt: skip

        try:
            async with aclosing(usage_stream(behind, extra, stream)) as parts:
                async for part in attempts.aeach(parts):
                    begun = True
                    if isinstance(part, CreateResult):
                        await _settle(attempts.held, part)
                    yield part
        except Exception as error:
            await attempts.afail(error, begun=begun)
            raise
        finally:
            attempts.held.abandon(consumed=True)  # left, or cancelled; else it has ended

    async def _begin(
        self,
        messages: Sequence[LLMMessage],
        tools: Sequence[Tool | ToolSchema],
        json_output: object,
        extra: Mapping[str, object] | None,
        token: CancellationToken | None,
    ) -> tuple[Attempts, Behind, dict[str, object]]:
        raise_if_stopped(messages)
        sent = dict(extra or {})
        behind = self._models or {self._model or "": self._inner}
        names = (str(sent["model"]),) if sent.get("model") else tuple(behind)
        call = ModelCall(
            shaped_messages(messages),
            shaped_tools(tools),
            model=names[0] if len(names) == 1 else None,
            models=names if len(names) > 1 else (),
            max_output_tokens=cap_in(sent) or smallest_cap(each.cap for each in behind.values()),
            lowers_cap=all(each.cap_name(name, self._cap_argument, sent) for name, each in behind.items()),
            thread=self._thread,
            answers=answers_in(sent.get("n")),
            settings=settings_of(behind.values(), sent, json_output),
        )
        held = await linked(self._calls.abegin(call), token)
        chosen = behind.get(held.model or "", next(iter(behind.values())))
        sent = chosen.capped(held.model or "", self._cap_argument, sent, held.max_output_tokens)
        return Attempts(self._calls, call, held, chosen.provider), chosen, sent

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients():
            await client.close()

    def actual_usage(self) -> RequestUsage:
        """Of every client."""
        return _sum([client.actual_usage() for client in self._clients()])

    def total_usage(self) -> RequestUsage:
        """Of every client."""
        return _sum([client.total_usage() for client in self._clients()])

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """As `inner` counts."""
        return self._inner.client.count_tokens(messages, tools=tools)

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """As `inner` counts."""
        return self._inner.client.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> Any:
        """Of `inner`."""
        return self._inner.client.capabilities

    @property
    def model_info(self) -> ModelInfo:
        """Of `inner`."""
        return self._inner.client.model_info

    def _clients(self) -> list[ChatCompletionClient]:
        return list({id(each.client): each.client for each in (self._inner, *self._models.values())}.values())


async def _settle(held: Reservation, result: CreateResult) -> None:
    """By the provider's count. AutoGen says 0 and 0 where the provider counted nothing."""
    if result.cached:
        await held.asettle(cost_usd=0)
        return
    sent, made = result.usage.prompt_tokens, result.usage.completion_tokens
    counts = {"input_tokens": sent, "output_tokens": made} if sent or made else None
    await held.asettle(read_counts(held.model, counts, received=received_text(result)))


def _sum(usages: Sequence[RequestUsage]) -> RequestUsage:
    return RequestUsage(sum(each.prompt_tokens for each in usages), sum(each.completion_tokens for each in usages))
