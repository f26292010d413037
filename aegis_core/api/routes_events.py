"""What observers read: the events of the tenant."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from aegis_core.api.routing import PREFIX, READING, GuardedRoute, Writer, auth_of, overseen
from aegis_core.api.schemas import Latest, Wait, security
from aegis_core.protocol.activity import ActivityPage, ActivityQuery, Grouping
from aegis_core.protocol.events import Cursor, Event, EventPage, EventQuery, Moment, Names, cursor_of
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import parse

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)
_page, _event, _activity = Writer(EventPage), Writer(Event), Writer(ActivityPage)

_AGO = "a time in UTC (`2026-11-30T03:00`, `03:00`) or how long ago (`15m`, `2h`, `7d`)"
_MANY = "one, or several with commas"
_BY = "What a row is of: `hour`, `agent`, `model`, `task_type`, `rule`, `lock`, `labels`, `label:NAME`; or several"


def _only(what: str) -> object:
    return Query(description=f"Only events {what}.")


@router.get(
    "/events", tags=["Operators"], summary="What happened",
    response_model=EventPage, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def events(
    request: Request,
    after: Annotated[
        Cursor | None,
        Query(description="Events after this id (`order=desc`: before it); `0`: all, `$`: from now."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="The most entries of a page.")] = 100,
    wait: Wait = 0,
    latest: Latest = None,
    since: Annotated[Moment | None, _only(f"from then on: {_AGO}")] = None,
    until: Annotated[Moment | None, _only(f"before that: {_AGO}")] = None,
    kind: Annotated[Names | None, _only(f"of this kind: {_MANY}")] = None,
    agent: Annotated[Identifier | None, _only("of this agent")] = None,
    session: Annotated[Identifier | None, _only("of this session")] = None,
    code: Annotated[Names | None, _only(f"with this code: {_MANY}")] = None,
    rule: Annotated[Identifier | None, _only("in which this rule matched")] = None,
    model: Annotated[Identifier | None, _only("about this model")] = None,
    order: Annotated[str, Query(pattern="^(asc|desc)$", description="`desc`: the newest first.")] = "asc",
) -> Response:
    """One event for each decision and act, in their order. With `wait`, answers as soon as there is one."""
    governor = await overseen(request)
    if latest is not None:
        found = await governor.latest_events(latest)
        return _page(EventPage(found, cursor_of(found[-1]) if found else "0"))
    if after == "$" and order == "asc":
        after = await governor.tenant_store.newest_event()
    said = {
        "since": since, "until": until, "kind": kind, "agent": agent, "session": session, "code": code, "rule": rule,
        "model": model, "order": order, "limit": limit,
    }  # fmt: skip
    until_then = time.monotonic() + wait
    while True:
        page = await governor.find_events(parse(EventQuery, **said, after=after))
        left = until_then - time.monotonic()
        if page.events or page.more or left <= 0 or order == "desc" or until is not None:
            return _page(page)
        after = page.next
        # The governor blocks for a moment only, so that a server that stops does not wait for it.
        await governor.reader.something_after(after, left)


@router.get(
    "/events/stream", tags=["Operators"], summary="Events as they happen", response_class=StreamingResponse,
    responses={**READING, 200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    openapi_extra=security(),
)  # fmt: skip
async def stream(
    request: Request,
    after: Annotated[Cursor | None, Query(description="Events after this id; by default from now on.")] = None,
    kind: Annotated[Names | None, _only(f"of this kind: {_MANY}")] = None,
    agent: Annotated[Identifier | None, _only("of this agent")] = None,
    code: Annotated[Names | None, _only(f"with this code: {_MANY}")] = None,
) -> Response:
    """Server-sent events. `Last-Event-ID` resumes; `event: gap` says that some after it are kept no longer."""
    context = (await auth_of(request).overseer(request)).context
    after = request.headers.get("last-event-id") or after or "$"
    if after == "$":
        after = await context.governor.reader.newest()
    query = parse(EventQuery, after=after, kind=kind, agent=agent, code=code, limit=500)
    await context.governor.reader.check_past(after)
    context.streams.check_room()
    lines = context.streams.lines(query, lambda: auth_of(request).overseer(request, again=True))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


@router.get(
    "/events/{event_id}", tags=["Operators"], summary="One event",
    response_model=Event, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def event(
    request: Request, event_id: Annotated[str, Path(pattern=r"^[0-9]{1,15}-[0-9]{1,19}$", description="Its id.")]
) -> Response:
    """With everything that it says."""
    governor = await overseen(request)
    return _event(await governor.event(event_id))


@router.get(
    "/activity", tags=["Operators"], summary="What happened, summed up by the hour",
    response_model=ActivityPage, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def activity(
    request: Request,
    since: Annotated[Moment, Query(description=f"From that hour on: {_AGO}")] = "24h",
    until: Annotated[Moment | None, Query(description="Up to that hour; by default to now.")] = None,
    by: Annotated[Grouping, Query(description=_BY)] = "agent",
    agent: Annotated[Identifier | None, Query(description="Only of this agent")] = None,
    model: Annotated[Identifier | None, Query(description="Only of this model")] = None,
    task_type: Annotated[Identifier | None, Query(description="Only of this type of task")] = None,
    rule: Annotated[Identifier | None, Query(description="Only what this rule decided")] = None,
    lock: Annotated[Identifier | None, Query(description="Only of this lock")] = None,
    limit: Annotated[int, Query(ge=1, le=5_000, description="The most rows.")] = 100,
) -> Response:
    """Requests, charges, tokens, outcomes and waits, kept longer than the events that they are counted from."""
    governor = await overseen(request)
    said = {
        "since": since, "until": until, "by": by, "agent": agent, "model": model, "task_type": task_type, "rule": rule,
        "lock": lock, "limit": limit,
    }  # fmt: skip
    return _activity(await governor.activity(parse(ActivityQuery, **said)))
