"""What certainly computed nothing is given back, what carries its usage is charged exactly, the rest as reserved."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import anthropic
import httpx
import openai
import pytest

from aegis_core.metering.failures import judge, retry_count
from aegis_core.protocol.errors import InvalidRequestError

REQUEST = httpx.Request("POST", "https://api.openai.com/v1/chat/completions")


def caused(outer: BaseException, *causes: BaseException) -> BaseException:
    """Each error raised from the next."""
    for error, cause in zip((outer, *causes), causes, strict=False):
        error.__cause__ = cause
    return outer


def status_error(sdk: Any, status: int, retries: str | None = None) -> BaseException:
    headers = {} if retries is None else {"x-stainless-retry-count": retries}
    request = httpx.Request("POST", "https://x/v1", headers=headers)
    response = httpx.Response(status, request=request, json={"error": {"message": "x"}})
    return sdk.APIStatusError("x", response=response, body=None)


STATUSES = [
    *((status, None, "released") for status in (400, 401, 402, 403, 404, 405, 413, 422, 426, 429)),
    *((status, None, "unknown") for status in (408, 409, 499, 500, 502, 503, 504, 529, 599)),
    *((status, "openai", "released") for status in (500, 502, 503)),
    (504, "openai", "unknown"),
    (529, "openai", "unknown"),
    *((status, "anthropic", "released") for status in (500, 502, 503, 529)),
    (500, "gemini", "unknown"),
]


@pytest.mark.parametrize(("status", "provider", "kind"), STATUSES)
def test_a_status_has_a_row_with_its_source(status: int, provider: str | None, kind: str) -> None:
    outcome = judge(status, provider=provider)
    assert outcome.kind == kind
    assert f"status {status}" in outcome.reason
    assert judge(status, provider=provider, received=True).kind == "unknown", "after a part of the answer"


@pytest.mark.parametrize(("status", "kind"), [(429, "released"), (503, "released"), (409, "unknown"), (504, "unknown")])
def test_errors_of_the_sdks_stand_for_their_status_and_their_provider(status: int, kind: str) -> None:
    assert judge(status_error(openai, status)).kind == kind
    assert judge(status_error(anthropic, status)).kind == kind


NEVER_SENT = [
    ConnectionRefusedError(111, "refused"),
    socket.gaierror(-2, "unknown"),
    ssl.SSLCertVerificationError("self-signed"),
    ssl.SSLError(1, "sslv3 alert handshake failure"),
    httpx.ConnectError("x"),
    httpx.ConnectTimeout("x"),
    httpx.PoolTimeout("x"),
    InvalidRequestError("messages: is empty"),
    caused(openai.APIConnectionError(request=REQUEST), httpx.ConnectError("x"), ConnectionRefusedError()),
    caused(openai.APITimeoutError(request=REQUEST), httpx.ConnectTimeout("x"), TimeoutError()),
    caused(anthropic.APIConnectionError(request=REQUEST), httpx.ConnectError("x"), ssl.SSLCertVerificationError("x")),
    caused(RuntimeError("the framework's"), httpx.ConnectError("x")),
    ConnectionError("no server of Ollama's listens"),
    caused(RuntimeError("the framework's"), ConnectionError("the machine is off")),
]
PERHAPS_BILLED = [
    caused(openai.APITimeoutError(request=REQUEST), httpx.ReadTimeout("x"), TimeoutError()),
    caused(openai.APIConnectionError(request=REQUEST), httpx.RemoteProtocolError("x")),
    caused(anthropic.APIConnectionError(request=REQUEST), httpx.ReadError("x"), ConnectionResetError()),
    openai.APITimeoutError(request=REQUEST),
    openai.APIConnectionError(request=REQUEST),
    httpx.ReadTimeout("x"),
    httpx.WriteError("x"),
    ConnectionResetError(),
    BrokenPipeError(),
    TimeoutError(),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
    GeneratorExit(),
    ValueError("the answer is no JSON"),
    caused(ConnectionError("gone"), ValueError("of something else")),
    type("LineLostError", (ConnectionError,), {})("in the middle of the answer"),
]


@pytest.mark.parametrize("error", NEVER_SENT, ids=repr)
def test_what_was_never_sent_is_given_back(error: BaseException) -> None:
    assert judge(error).kind == "released"
    assert judge(error, received=True).kind == "unknown", "bytes of an answer had arrived all the same"


@pytest.mark.parametrize("error", PERHAPS_BILLED, ids=repr)
def test_what_had_left_is_charged(error: BaseException) -> None:
    assert judge(error).kind == "unknown"


def test_the_failure_of_another_call_is_no_excuse() -> None:
    """A fallback runs in the handler of the first call's failure, and may have been billed."""
    error = ValueError("the second one's answer is no JSON")
    error.__context__ = httpx.ConnectError("the first provider is down")
    assert judge(error).kind == "unknown"


def test_of_several_failures_one_that_may_be_billed_decides() -> None:
    refused, lost = ConnectionRefusedError(), httpx.ReadTimeout("x")
    assert judge(ExceptionGroup("x", [refused, refused])).kind == "released"
    assert judge(ExceptionGroup("x", [refused, lost])).kind == "unknown"


class ClientError(Exception):
    """As botocore has it."""

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 2}, "Error": {"Code": "x"}}


@pytest.mark.parametrize(("status", "kind"), [(400, "released"), (429, "released"), (500, "unknown"), (408, "unknown")])
def test_errors_of_boto_keep_the_status_in_their_metadata(status: int, kind: str) -> None:
    outcome = judge(ClientError(status))
    assert (outcome.kind, outcome.attempts) == (kind, 3)


class ReadTimeoutError(Exception):
    """As urllib3 and botocore call it."""


class MaxRetryError(Exception):
    """As urllib3 has it: the cause is in an attribute."""

    def __init__(self, reason: Exception) -> None:
        super().__init__("max retries")
        self.reason = reason


class NewConnectionError(Exception):
    """As urllib3 calls it."""


def test_causes_are_found_in_attributes_and_arguments() -> None:
    assert judge(OSError(MaxRetryError(NewConnectionError()))).kind == "released"
    assert judge(OSError(MaxRetryError(ReadTimeoutError()))).kind == "unknown"


class APIConnectionError(Exception):
    """As gateways have it: with a status that no server sent."""

    status_code = 500


def test_an_invented_status_does_not_count() -> None:
    assert judge(APIConnectionError(), provider="openai").kind == "unknown"


@pytest.mark.parametrize(("header", "count"), [("0", 0), ("2", 2), (None, 0), ("many", 0), ("-1", 0), ("9" * 400, 0)])
def test_retries_are_counted_by_what_the_request_said(header: str | None, count: int) -> None:
    error = status_error(openai, 429, header)
    assert retry_count(error) == count
    assert judge(error).attempts == count + 1


def test_an_answer_that_an_error_keeps_is_read_with_its_doubts() -> None:
    class ParseError(Exception):
        completion = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": -3}}  # noqa: RUF012

    outcome = judge(ParseError(), model="gpt-4o")
    assert outcome.kind == "exact"
    assert outcome.reading is not None
    assert not outcome.reading.exact


class HostileError(Exception):
    """Raises when it is asked anything."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"response", "completion"}:
            raise RuntimeError(name)
        return super().__getattribute__(name)


def test_an_error_that_raises_when_asked_is_charged() -> None:
    assert judge(HostileError()).kind == "unknown"


def test_errors_that_cause_each_other_end() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert judge(one).kind == "unknown"
