"""A model client in front of another: it reserves, calls the recommended model, settles, and releases on error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

from autogen_core import CancellationToken
from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage, ModelInfo, RequestUsage
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from aegis_autogen.agentchat.cancellation import linked
from aegis_autogen.agentchat.final_denials import raise_if_stopped
from aegis_autogen.agentchat.shapes import config_of, received_text, settings_of, shaped_messages, shaped_tools
from aegis_autogen.agentchat.streaming import with_usage
from aegis_core.adapting import Attempts, CallGovernor, ModelCall, Reservation, answers_in, read_counts
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
        cap_argument: by which argument of a call the cap is sent; None: this client has none. Then what `inner` is
            configured with is reserved, else the model's maximum.
        intent: what the calls are for. Rules read this, and nothing of the prompts.
        logic_density: how hard the agent's work is, 1 to 10, for the choice of a model.
        approval_seconds: how long a call waits for a human; 0: it is refused.
        thread: names the conversation, for observers.

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
        cap_argument: str | None = "max_tokens",
        logic_density: int | None = None,
        approval_seconds: float = 600,
        intent: str | None = None,
        thread: str | None = None,
    ) -> None:
        self._calls = CallGovernor(
            aegis,
            framework="autogen",
            max_output_tokens=max_output_tokens,
            logic_density=logic_density,
            approval_seconds=approval_seconds,
            intent=intent,
        )
        config = config_of(inner)
        self._inner, self._models, self._model = inner, dict(models or {}), model or config.get("model")
        if not self._models and not self._model:
            raise ConfigurationError(
                f"{type(inner).__name__} does not say which model it calls, so its price is not known; give model=.",
                code="unknown_model",
            )
        self._cap_argument, self._thread = cap_argument, thread
        self._settings = config
        self._declared = _whole(config.get(cap_argument or "max_tokens"))

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
        attempts, client, extra = await self._begin(messages, tools, json_output, extra_create_args, cancellation_token)
        try:
            with attempts.running():
                result = await client.create(
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
        attempts, client, extra = await self._begin(messages, tools, json_output, extra_create_args, cancellation_token)
        begun = False

        def stream(**more: Any) -> AsyncGenerator[str | CreateResult, None]:
            return client.create_stream(
                messages, tools=tools, tool_choice=tool_choice, json_output=json_output, extra_create_args=extra,
                cancellation_token=cancellation_token, **more,
            )  # fmt: skip

        try:
            async with aclosing(with_usage(client, extra, stream)) as parts:
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
    ) -> tuple[Attempts, ChatCompletionClient, dict[str, object]]:
        raise_if_stopped(messages)
        sent = dict(extra or {})
        call = ModelCall(
            shaped_messages(messages),
            shaped_tools(tools),
            model=None if self._models else self._model,
            models=tuple(self._models),
            max_output_tokens=_whole(sent.get(self._cap_argument or "")) or self._declared,
            lowers_cap=self._cap_argument is not None,
            thread=self._thread,
            answers=answers_in(sent.get("n")),
            settings=settings_of(sent, self._settings, json_output),
        )
        held = await linked(self._calls.abegin(call), token)
        if self._cap_argument is not None:
            sent[self._cap_argument] = held.max_output_tokens
        client = self._models.get(held.model or "", self._inner)
        return Attempts(self._calls, call, held, client), client, sent

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
        return self._inner.count_tokens(messages, tools=tools)

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """As `inner` counts."""
        return self._inner.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> Any:
        """Of `inner`."""
        return self._inner.capabilities

    @property
    def model_info(self) -> ModelInfo:
        """Of `inner`."""
        return self._inner.model_info

    def _clients(self) -> list[ChatCompletionClient]:
        return list({id(client): client for client in (self._inner, *self._models.values())}.values())


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


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
