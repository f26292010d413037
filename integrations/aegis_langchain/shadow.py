"""What a cheaper chat model would have answered, asked after the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from aegis_core.adapting import Attempts, CallGovernor, ModelCall
from aegis_core.adapting.shadowing import ShadowModels
from aegis_core.kaizen.experiments.judges import Answer
from aegis_core.kaizen.experiments.shadow import Arm, NotAskedError

_VERSIONS = ("model_name", "model", "model_version")
"""Where integrations say which model answered."""


class Shadowed:
    """The shadow models of one governed model."""

    def __init__(self, calls: CallGovernor, models: Mapping[str, BaseChatModel], judge: object) -> None:
        self._models, self.shadow = models, ShadowModels(calls, list(models), judge)

    def after(
        self, attempts: Attempts, model: BaseChatModel, result: ChatResult | Sequence[ChatGenerationChunk],
        messages: list[BaseMessage], stop: Any, said: dict[str, object],
    ) -> None:  # fmt: skip
        """Take an answer of `model`, whole or in the chunks of a stream that ended, to a call with these messages and
        keywords."""
        held = attempts.held

        def answer() -> Answer:
            whole = result if isinstance(result, ChatResult) else generate_from_stream(iter(result))
            return answer_of(whole, held.model or "")

        if isinstance(held.call, ModelCall) and result:
            self.shadow.after(held, held.call, answer, _Asking(self._models, type(model), messages, stop, said))


class _Asking:
    """Asks a candidate the same, governed as Aegis's own agent."""

    def __init__(
        self, models: Mapping[str, BaseChatModel], like: type[BaseChatModel], messages: list[BaseMessage], stop: Any,
        said: dict[str, object],
    ) -> None:  # fmt: skip
        self._models, self._like, self._messages, self._stop = models, like, messages, stop
        self._said = {name: value for name, value in said.items() if name != "model"}

    async def __call__(self, arm: Arm, calls: CallGovernor) -> Answer:
        from aegis_langchain.chat_model import GovernedChatModel

        model = self._models[arm.candidate]
        if self._said.get("tools") and not isinstance(model, self._like):
            raise NotAskedError  # tools are spelt as the present model's provider has them
        governed = GovernedChatModel(aegis=calls, models={arm.candidate: model})
        result = await governed._agenerate(self._messages, self._stop, None, **self._said)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return answer_of(result, arm.candidate)


def answer_of(result: ChatResult, model: str) -> Answer:
    """What a judge reads of an answer."""
    message = cast("AIMessage", result.generations[0].message)
    calls = tuple((call["name"], json.dumps(call["args"], sort_keys=True)) for call in message.tool_calls)
    said = cast("Mapping[str, object]", message.response_metadata)
    version = next((said[name] for name in _VERSIONS if said.get(name)), "")
    return Answer(model, str(message.text), calls, version=str(version))
