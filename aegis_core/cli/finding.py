"""Finds what commands name by its id or by the first letters of it, as ``list`` shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from aegis_core.protocol.errors import InvalidRequestError

_T = TypeVar("_T")
_HEX = 32
_PAGE = 500


def whole_id(name: str, head: str) -> str | None:
    """The id that a name is, with or without its `head` (``ap_``); None where it is only the beginning of one."""
    start = head + name.removeprefix(head)
    return start if len(start) == len(head) + _HEX else None


async def beginning_with(
    name: str, head: str, kind: str, page: Callable[[str | None, int], Awaitable[tuple[_T, ...]]],
    id_of: Callable[[_T], str],
) -> _T | None:  # fmt: skip
    """The only one of all pages whose id begins so; None where there is none.

    Args:
        name: the first letters, with or without the `head`.
        head: with what all ids begin.
        kind: what they are, for the error: ``open approvals``.
        page: reads so many that come after an id.
        id_of: the id of one.

    Raises:
        InvalidRequestError: several begin so.
    """
    start, found = head + name.removeprefix(head), None
    async for each in _every(page, id_of):
        if id_of(each).startswith(start):
            if found is not None:
                problem = f"fits several {kind}; give more of it"
                what = kind.rpartition(" ")[2].removesuffix("s")
                raise InvalidRequestError(f"{what}: {name} {problem}", field=what, problem=problem)
            found = each
    return found


def none_begins(name: str, kind: str) -> InvalidRequestError:
    """The error where nothing begins so."""
    problem = f"is no {kind}'s beginning"
    return InvalidRequestError(f"{kind}: {name} {problem}", field=kind, problem=problem)


async def _every(
    page: Callable[[str | None, int], Awaitable[tuple[_T, ...]]], id_of: Callable[[_T], str]
) -> AsyncIterator[_T]:
    """All of a listing, however many they are."""
    after: str | None = None
    while True:
        found = await page(after, _PAGE)
        for each in found:
            yield each
        if len(found) < _PAGE:
            return
        after = id_of(found[-1])
