"""How the parts of the remote governor call the server: the message that goes out, and the type of what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

_T = TypeVar("_T")


def segment(text: str) -> str:
    """A text as one segment of a path, dots included, which would else be taken for steps."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


Query = Mapping[str, str | int | float]
"""What follows the question mark of an address."""


class Call(Protocol):
    """One call with a credential: of a session, or of an operator."""

    async def __call__(
        self, method: str, path: str, kind: type[_T], *, body: BaseModel | None = None, query: Query | None = None,
        token: str | None = None, wait: float = 0, retry: bool = False,
    ) -> _T: ...  # fmt: skip


class OperatorCall(Protocol):
    """One call as the operator whom the connection speaks for."""

    async def __call__(
        self, method: str, path: str, kind: type[_T], *, body: BaseModel | None = None, query: Query | None = None,
        wait: float = 0, retry: bool = True,
    ) -> _T: ...  # fmt: skip


@cache
def adapter(kind: type[_T]) -> TypeAdapter[_T]:
    """What reads an answer of one type."""
    return TypeAdapter(kind)
