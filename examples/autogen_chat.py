"""Classic AutoGen on a budget. Offline a script answers; with OPENAI_API_KEY a model."""

import os
from types import SimpleNamespace as Said
from typing import Any, cast

from aegis_autogen import register_governor
from autogen import ConversableAgent

import aegis_core


class Offline:
    def __init__(self, config: dict[str, Any]) -> None: ...
    def cost(self, response: Any) -> Any: ...  # the response says it
    def get_usage(self, response: Any) -> Any: ...

    def create(self, params: dict[str, Any]) -> Any:
        choice = Said(message=Said(content=f"Idea {len(params['messages'])}: sell umbrellas."))
        usage = Said(prompt_tokens=90, completion_tokens=30)
        return Said(choices=[choice], usage=usage, model=params["model"], cost=0.0, id=str(id(choice)))

    def message_retrieval(self, response: Any) -> list[str]:
        return [choice.message.content for choice in response.choices]


offline = {} if "OPENAI_API_KEY" in os.environ else {"model_client_cls": "Offline"}
config: Any = {"config_list": [{"model": "gpt-4o-mini", "max_tokens": 100, **offline}], "cache_seed": None}
with aegis_core.connect_sync() as governor:
    agent = governor.handshake("shopkeeper", session_budget_usd="0.0003")
    thinker, critic = (ConversableAgent(name, llm_config=config, human_input_mode="NEVER") for name in ("a", "b"))
    for each in (thinker, critic):
        if offline:
            each.register_model_client(cast("Any", Offline))
        register_governor(each, agent)
    try:
        critic.initiate_chat(thinker, message="What should I sell in Bern? Keep improving on it.", max_turns=50)
    except aegis_core.AegisDenied as denied:
        print("The chat ended within its budget:", denied.message)
