"""Kaizen's reports: what was wasted on a day, and what could be changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aegis_core.api.routing import PREFIX, READING, GuardedRoute, Writer, overseen
from aegis_core.api.schemas import security
from aegis_core.protocol.kaizen import Date, Explanation, KaizenQuery, KaizenReport
from aegis_core.protocol.parsing import parse

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)
_report, _explanation = Writer(KaizenReport), Writer(Explanation)


@router.get(
    "/kaizen/report", tags=["Operators"], summary="What was wasted on a day",
    response_model=KaizenReport, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def report(
    request: Request,
    day: Annotated[
        Date | None, Query(description="A date in the tenant's zone; by default the last closed day.")
    ] = None,
) -> Response:
    """Findings with their intervals, ranked by the lower end, and what they propose. Days are closed at midnight."""
    governor = await overseen(request)
    return _report(await governor.kaizen_report(parse(KaizenQuery, day=day)))


@router.get(
    "/kaizen/findings/{finding_id}", tags=["Operators"], summary="One finding",
    response_model=Explanation, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def finding(
    request: Request,
    finding_id: Annotated[
        str, Path(max_length=100, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\.[a-z_.-]+$", description="Its id.")
    ],
) -> Response:
    """With the changes that are proposed because of it."""
    governor = await overseen(request)
    return _explanation(await governor.kaizen_explain(finding_id))
