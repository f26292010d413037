"""Which path is what: a call that is governed, something free that is passed on, or a refusal with a sentence.

A path that is not listed is refused: what nobody here can price is not forwarded. Paths are matched as they were sent,
so that no other spelling of one gets through.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Dialect = Literal["openai", "anthropic", "gemini"]
"""Whose shape errors have, and who answers where a path names no upstream."""

Api = Literal["chat", "completions", "responses", "embeddings", "messages", "generate", "gemini_embeddings"]
"""The shape of a governed call."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is.

    Attributes:
        kind: ``call``: governed; ``free``: passed on to a caller with a key; ``upgrade``: to be asked again by POST.
        dialect: whose errors its client reads.
        upstream: the name of who answers it.
        target: the path there.
        api: of a call.
        model: the model, where the path names it.
        streams: whether the path says that the answer is a stream.
        reason: why it is refused, as a sentence.
    """

    kind: Literal["call", "free", "upgrade", "refused"]
    dialect: Dialect
    upstream: str
    target: bytes
    api: Api = "chat"
    model: str = ""
    streams: bool = False
    reason: str = ""


_V1 = rb"(?:/openai)?/v1"
_DEPLOYMENT = rb"/openai/deployments/(?P<model>[\w.-]{1,128})"
_GEMINI = rb"/v1(?:beta|alpha)?/(?P<model>(?:models|tunedModels)/[\w.-]{1,128})"

_CALLS: tuple[tuple[re.Pattern[bytes], Dialect, Api], ...] = (
    (re.compile(rb"/v1/messages"), "anthropic", "messages"),
    (re.compile(rb"(?:%s|%s)/chat/completions" % (_V1, _DEPLOYMENT)), "openai", "chat"),
    (re.compile(rb"(?:%s|/openai)/responses" % _V1), "openai", "responses"),
    (re.compile(rb"(?:%s|%s)/embeddings" % (_V1, _DEPLOYMENT)), "openai", "embeddings"),
    (re.compile(rb"(?:%s|%s)/completions" % (_V1, _DEPLOYMENT)), "openai", "completions"),
    (re.compile(rb"%s:(?:(?P<stream>streamG)|g)enerateContent" % _GEMINI), "gemini", "generate"),
    (re.compile(rb"%s:(?:batchEmbedContents|embedContent)" % _GEMINI), "gemini", "gemini_embeddings"),
)
_FREE: tuple[tuple[re.Pattern[bytes], Dialect, bytes], ...] = (
    (re.compile(rb"/v1/messages/count_tokens"), "anthropic", b"POST"),
    (re.compile(rb"%s/responses/input_tokens|%s/moderations" % (_V1, _V1)), "openai", b"POST"),
    (re.compile(rb"%s:countTokens" % _GEMINI), "gemini", b"POST"),
    (re.compile(rb"/v1(?:beta|alpha)/models(?:/[\w.-]{1,128})?"), "gemini", b"GET"),
    (re.compile(rb"%s/models(?:/[\w.:@-]{1,128}){0,3}" % _V1), "openai", b"GET"),
)
_REFUSED: tuple[tuple[re.Pattern[bytes], Dialect, str], ...] = (
    (re.compile(rb"/v1/messages/batches.*"), "anthropic", "Batches"),
    (re.compile(rb"/v1/(?:files|skills|organizations).*"), "openai", "Files and organisations"),
    (re.compile(rb"%s/(?:batches|uploads|fine_tuning|vector_stores|assistants|threads|containers|evals).*" % _V1),
     "openai", "Batches, uploads, fine-tuning, vector stores, assistants and containers"),
    (re.compile(rb"%s/(?:images|audio|videos).*" % _V1), "openai", "Pictures, speech, transcription and films"),
    (re.compile(rb"%s/realtime.*|/ws/.*" % _V1), "openai", "Realtime and live sessions"),
    (re.compile(rb"/v1(?:beta|alpha)/(?:cachedContents|files|batches|interactions|corpora).*|/upload/.*"), "gemini",
     "Files, caches, batches and interactions"),
    (re.compile(rb"%s:.*" % _GEMINI), "gemini", "This method of Gemini"),
    (re.compile(rb"/model/.*|/v1(?:beta1)?/projects/.*"), "openai", "Bedrock and Vertex AI"),
)  # fmt: skip
_UNPRICED = "{} cannot be bounded before the call, so the proxy of Aegis does not forward them."
_UNKNOWN = (
    "Aegis does not know this path, so it forwards nothing. A base URL ends as the client expects it: "
    "http://HOST:PORT/v1 for OpenAI's API, http://HOST:PORT for Anthropic's and Gemini's."
)
_METHOD = "Aegis forwards no {} of this path."
_UPGRADE = "The proxy of Aegis governs Responses by POST; a WebSocket is not opened."


def find(method: bytes, path: bytes, upstreams: Collection[str], hint: Dialect, *, upgrades: bool = False) -> Route:
    """What a request is.

    Args:
        method: in capitals.
        path: as it was sent, without its query.
        upstreams: the names of those that are configured; one may be the first part of a path.
        hint: whose client the headers suggest, for paths that several providers have.
        upgrades: whether the request offers another protocol.
    """
    upstream, target = "", path
    first, slash, rest = path[1:].partition(b"/")
    name = first.decode("latin-1")
    if slash and name in upstreams:
        upstream, target = name, b"/" + rest
    for pattern, dialect, api in _CALLS:
        if found := pattern.fullmatch(target):
            route = _call(found, dialect, api, upstream, target)
            if method == b"POST":  # an offer to speak HTTP/2 is no wish
                return route
            if method == b"GET" and upgrades:
                return Route("upgrade", dialect, route.upstream, target, reason=_UPGRADE)
            return _refused(route.dialect, upstream, target, _METHOD.format(method.decode("latin-1")))
    for pattern, dialect, allowed in _FREE:
        if method == allowed and pattern.fullmatch(target):
            # Two providers list their models at the same path.
            speaks = hint if allowed == b"GET" else dialect
            return Route("free", speaks, upstream or speaks, target)
    for pattern, dialect, what in _REFUSED:
        if pattern.fullmatch(target):
            return _refused(dialect, upstream, target, _UNPRICED.format(what))
    return _refused(hint, upstream, target, _UNKNOWN)


def _call(found: re.Match[bytes], dialect: Dialect, api: Api, upstream: str, target: bytes) -> Route:
    groups = found.groupdict()
    model = (groups.get("model") or b"").decode("latin-1").removeprefix("models/")
    return Route("call", dialect, upstream or dialect, target, api, model, groups.get("stream") is not None)


def _refused(dialect: Dialect, upstream: str, target: bytes, reason: str) -> Route:
    return Route("refused", dialect, upstream or dialect, target, reason=reason)
