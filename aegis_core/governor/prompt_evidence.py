"""What events keep of a call's prompt: its size, and names under a key of the server; none of its words."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, NamedTuple, TypeVar

from aegis_core.protocol.messages import PermissionRequest
from aegis_core.store.call_evidence import Evidence


class PromptNames(NamedTuple):
    """A prompt and its prefix by hashes under a key of the server, so that nobody can try texts out on them."""

    prompt: str | None
    prefix: str | None

    @classmethod
    def of(cls, request: PermissionRequest, pepper: bytes) -> PromptNames:
        """Those of a request. None: it says none."""
        return cls(*(each and keyed_prompt(each, pepper) for each in (request.prompt_hash, request.prefix_hash)))


def keyed_prompt(said: str, pepper: bytes) -> str:
    """The name under which a prompt is stored whose hash its caller said, in 32 hexadecimal digits."""
    return blake2b(said.encode(), digest_size=16, key=pepper[:64], person=b"aegis prompt").hexdigest()


_UNNAMED = PromptNames(None, None)
_SAID = frozenset({
    "prompt_tokens", "prompt_bytes", "prompt_size_bytes", "max_output_tokens", "requirements", "temperature",
    "traceparent", "experiment_arm", "propensity",
})  # fmt: skip
"""Fields that are evidence; most requests give none, and are spared the looking."""
_SHORT = 16
"""Digits of such a name in an event: enough to tell a tenant's prompts apart."""


def evidence_of(request: PermissionRequest, names: PromptNames, http_request_id: str | None = None) -> list[object]:
    """What a request says for later, without the end that it does not say. Empty: nothing."""
    if http_request_id is None and names == _UNNAMED and request.model_fields_set.isdisjoint(_SAID):
        return []
    needs, sizes = request.requirements, (request.prompt_bytes, request.prompt_size_bytes)
    prompt, prefix = (each and each[:_SHORT] for each in names)
    said: list[object] = list(Evidence(
        _or_false(request.prompt_tokens), _or_false(next((each for each in sizes if each is not None), None)),
        _or_false(request.max_output_tokens),
        needs.model_dump(mode="json", exclude_defaults=True) if needs else False, _or_false(request.temperature),
        prompt or False, prefix or False, request.traceparent or False, request.experiment_arm or False,
        request.propensity or False, http_request_id or False,
    ))  # fmt: skip
    while said and said[-1] is False:
        said.pop()
    return said


_N = TypeVar("_N", int, float)


def _or_false(value: _N | None) -> _N | Literal[False]:
    return False if value is None else value
