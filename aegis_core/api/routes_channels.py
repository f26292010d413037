"""Where the services of channels post what operators say. Mounted for the channels that the settings have posted to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import APIRouter, Request, Response
from starlette.routing import BaseRoute

from aegis_core.api.messages import Done
from aegis_core.api.routing import PREFIX, Writer
from aegis_core.channels.channel import PostedTo
from aegis_core.channels.registry import CHANNELS
from aegis_core.settings import Settings

_done = Writer(Done)


def posted_to(settings: Settings) -> list[BaseRoute]:
    """One route for each channel whose service posts to us."""
    router = APIRouter(prefix=PREFIX)
    for name, channel in CHANNELS.items():
        if channel.posted_to(settings) and channel.read(settings) is not None:
            router.post(f"/{name}/webhook", include_in_schema=False)(_taking(name))
    return router.routes


def _taking(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def take(request: Request) -> Response:
        channel = cast("PostedTo", request.app.state.channels[name])
        await channel.take_post(request.headers, request.body)
        return _done(Done())

    return take
