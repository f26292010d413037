"""A model that asks Aegis before each call of the models behind it, and settles after it.

It is the complete chokepoint of a crew: CrewAI's hooks see neither errors of the provider nor calls that end in tool
calls. The output cap of a call cannot be lowered here, because a CrewAI model reads it from itself; the declared one is
reserved.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Unpack, cast
from uuid import uuid4
from weakref import WeakValueDictionary

from crewai.agents.agent_builder import base_agent
from crewai.llms.base_llm import BaseLLM, call_stop_override, call_stream_override
from crewai.types.usage_metrics import UsageMetrics
from pydantic import PrivateAttr

from aegis_core.adapting import Attempts, CallGovernor, CallWishes, ModelCall, Reservation, answers_in
from aegis_core.adapting.standing_in import warn_of_fail_over
from aegis_core.protocol.errors import AegisError, ConfigurationError
from aegis_crewai.denials import CallStopped, stopping
from aegis_crewai.metering import Meter, metered
from aegis_crewai.models import Models, by_name, output_cap, settings_of, shaped, takes_tools

if TYPE_CHECKING:
    from collections.abc import Generator

    from crewai.tools import BaseTool
    from crewai.utilities.types import LLMMessage
    from pydantic import BaseModel

    Said = str | list[LLMMessage]
    Offered = list[dict[str, BaseTool]] | None

_REPEATED_ALREADY = "_crewai_rate_limit_wrapped"
_alive: WeakValueDictionary[str, GovernedLLM] = WeakValueDictionary()


class GovernedLLM(BaseLLM):
    """Delegates to one of `models`, each call of which is asked for and charged for what it used.

    A refusal raises `CallRefused`, which ends the run. Where a call waits for a human, it blocks for up to
    `approval_seconds`.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        models: a model of CrewAI or its name; of several, Aegis picks one for each call.
        max_output_tokens: the output cap of models that are given by name; one that you made keeps its own.
        intent: what the calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human; 0: it is refused.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, or `models` is empty, ambiguous or governed already.
    """

    llm_type: str = "aegis"
    _calls: CallGovernor = PrivateAttr()
    _behind: dict[str, BaseLLM] = PrivateAttr()

    def __init__(
        self,
        *,
        aegis: object,
        models: Models,
        max_output_tokens: int = 4_096,
        approval_seconds: float = 600,
        intent: str | None = None,
        **wishes: Unpack[CallWishes],
    ) -> None:
        calls = aegis if isinstance(aegis, CallGovernor) else CallGovernor(
            aegis, framework="crewai", approval_seconds=approval_seconds, intent=intent, **wishes
        )  # fmt: skip
        behind = by_name(models, max_output_tokens)
        first = next(iter(behind.values()))
        name = uuid4().hex
        super().__init__(
            model=first.model,
            provider=first.provider,
            temperature=first.temperature,
            max_tokens=output_cap(behind.values()),
            stream=first.stream,
            stop=list(first.stop),
            additional_params={"aegis": name},
        )
        self._calls, self._behind = calls, behind
        warn_of_fail_over(behind.values(), GovernedLLM)
        _alive[name] = self

    @property
    def models(self) -> tuple[BaseLLM, ...]:
        """The models behind it."""
        return tuple(self._behind.values())

    def call(self, messages: Said, tools: Offered = None, *args: Any, **kwargs: Any) -> Any:
        """Reserve, call the recommended model, settle. Raises `CallRefused` or `CallStopped`; then none was called."""
        asked = self._described(messages, tools, kwargs)
        try:
            held = self._calls.begin(asked)
        except AegisError as error:
            raise stopping(error) from error
        with self._chosen(held) as meter:
            attempts = Attempts(self._calls, asked, held, meter.llm)
            try:
                with attempts.running():
                    answer = meter.llm.call(messages, tools, *args, **kwargs)
            except BaseException as error:
                if meter.counted and isinstance(error, Exception):
                    attempts.held.settle(meter.reading(attempts.held))
                try:
                    attempts.fail(error, begun=meter.begun)
                except AegisError as denied:
                    raise stopping(denied) from error
                raise
            attempts.held.settle(meter.reading(attempts.held, answer))
            return answer

    async def acall(self, messages: Said, tools: Offered = None, *args: Any, **kwargs: Any) -> Any:
        """As `call`. A call that is cancelled is charged as reserved."""
        asked = self._described(messages, tools, kwargs)
        try:
            held = await self._calls.abegin(asked)
        except AegisError as error:
            raise stopping(error) from error
        with self._chosen(held) as meter:
            attempts = Attempts(self._calls, asked, held, meter.llm)
            try:
                with attempts.running():
                    answer = await meter.llm.acall(messages, tools, *args, **kwargs)
            except BaseException as error:
                if meter.counted and isinstance(error, Exception):
                    await attempts.held.asettle(meter.reading(attempts.held))
                try:
                    await attempts.afail(error, begun=meter.begun)
                except AegisError as denied:
                    raise stopping(denied) from error
                raise
            await attempts.held.asettle(meter.reading(attempts.held, answer))
            return answer

    # CrewAI calls a model again whose error mentions a rate limit, as a refusal's reason may. The models behind do so
    # themselves for what their providers say.
    setattr(call, _REPEATED_ALREADY, True)
    setattr(acall, _REPEATED_ALREADY, True)

    def get_context_window_size(self) -> int:
        """The smallest of the models behind; without this CrewAI would cut a conversation at 4,096 tokens."""
        return min(llm.get_context_window_size() for llm in self.models)

    def supports_function_calling(self) -> bool:
        """Whether all of them do."""
        return all(takes_tools(llm) for llm in self.models)

    def supports_stop_words(self) -> bool:
        """Whether all of them do."""
        return all(llm.supports_stop_words() for llm in self.models)

    def supports_multimodal(self) -> bool:
        """Whether all of them do."""
        return all(llm.supports_multimodal() for llm in self.models)

    def get_input_tokens_count(
        self, messages: Said, tools: Offered = None, response_model: type[BaseModel] | None = None
    ) -> int:
        """The largest count of the models behind."""
        return max(llm.get_input_tokens_count(messages, tools, response_model) for llm in self.models)

    def format_text_content(self, text: str) -> dict[str, object]:
        """As the first model behind."""
        return self.models[0].format_text_content(text)

    def get_file_uploader(self) -> Any:
        """As the first model behind."""
        return self.models[0].get_file_uploader()

    def get_token_usage_summary(self) -> UsageMetrics:
        """What all models behind have consumed."""
        total = UsageMetrics()
        for llm in self.models:
            total.add_usage_metrics(llm.get_token_usage_summary())
        return total

    def __deepcopy__(self, memo: object = None) -> GovernedLLM:
        return self.model_copy()  # the models behind hold sockets, and are shared

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _alive[self.additional_params["aegis"]] = self

    def _effective_max_tokens(self) -> int | float | None:
        return output_cap(self.models)

    def _invoke_before_llm_call_hooks(self, messages: object, from_agent: object = None) -> bool:
        """CrewAI calls this on a model only when it is about to ask the provider past it (`Task(output_json=…)`)."""
        raise CallStopped(
            "CrewAI would make the JSON of this task by a call that Aegis cannot see; use output_pydantic, or govern "
            "the crew with govern_crew, which converts through the model.",
            code="unseen_call",
        )

    def _described(self, messages: Said, tools: Offered, kwargs: Mapping[str, Any]) -> ModelCall:
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        offered: list[object] = list(tools or ())
        for llm in self.models:
            offered += [{"type": name} for name in getattr(llm, "builtin_tools", None) or ()]
        names = tuple(self._behind)
        task = kwargs.get("from_task")
        cap = output_cap(self.models)
        return ModelCall(
            [shaped(message) for message in cast("list[Mapping[str, object]]", said)],
            offered,
            names[0] if len(names) == 1 else None,
            names if len(names) > 1 else (),
            None if cap is None else int(cap),
            thread=None if task is None else str(task.id),
            answers=answers_in(*(getattr(llm, "n", None) for llm in self.models)),
            settings=settings_of(self.models, said, kwargs.get("response_model")),
        )

    @contextmanager
    def _chosen(self, held: Reservation) -> Generator[Meter]:
        """The chosen model, set to stop and stream as this one is for this call, with a meter on it."""
        llm = self._behind[held.model or ""]
        stream = self._effective_stream()
        with ExitStack() as stack:
            stack.enter_context(call_stop_override(llm, self.stop_sequences))
            if stream is not None:
                stack.enter_context(call_stream_override(llm, stream))
            yield stack.enter_context(metered(llm))


def revived(**dumped: Any) -> GovernedLLM:
    """The governed model that CrewAI dumped to copy a crew (`kickoff_for_each`): the very one, never an ungoverned."""
    params: dict[str, str] = dumped.get("additional_params") or {}
    found = _alive.get(params.get("aegis", ""))
    if found is None:
        raise ConfigurationError(
            "A governed model was restored from text, which carries no connection to Aegis; make it again with "
            "GovernedLLM(aegis=…, models=…).",
            code="restored_model",
        )
    return found


base_agent._LLM_TYPE_REGISTRY["aegis"] = f"{__name__}.revived"  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
