"""A real HTTP API with a real bot, whose Bot API is `botapi`; and agents that wait for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from botapi import ANA, BOB, CHAT, TOKEN, BotApi
from serving import OPERATOR, serving

import aegis_core
from aegis_core import AegisDenied, Settings, Verdict
from aegis_core.governor.governor import ResourceGovernor

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
_T = TypeVar("_T")


def on_telegram(settings: Settings, api: BotApi, **more: Any) -> Settings:
    """Settings with the bot: Ana and Bob may decide."""
    from pydantic import SecretStr

    return settings.model_copy(
        update={
            "telegram_token": SecretStr(TOKEN), "telegram_chat_id": CHAT, "telegram_api_url": api.url,
            "telegram_operators": f"{ANA}=ana,{BOB}=bob", "agent_day_usd": 100, **more,
        }
    )  # fmt: skip


@dataclass
class Asking:
    """A server whose agents ask, and those agents."""

    url: str
    settings: Settings
    pool: ThreadPoolExecutor
    events_from: str = "0"
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=90))

    def agent(self, intent: str = "Rent a large machine", name: str = "worker", **fields: Any) -> Future[str]:
        """An agent in a thread of its own, which waits in `permit`. Its result: the grant's state or the refusal."""

        def work() -> str:
            with aegis_core.connect_sync(self.url, tenant=self.settings.tenant) as governor:
                wish = {"resource_type": "compute", "estimated_cost_usd": 12, **fields}
                try:
                    with governor.handshake(name).permit(intent, **wish) as grant:
                        return f"went on with {grant.verdict.status}"
                except AegisDenied as denied:
                    return f"{denied.verdict.status} {denied.code}: {denied}"

        return self.pool.submit(work)

    def on_redis(self, work: Callable[[ResourceGovernor], Awaitable[_T]]) -> _T:
        """Do something as another process beside the server would."""

        async def run() -> _T:
            plain = self.settings.model_copy(update={"telegram_token": None})
            async with aegis_core.connect(settings=plain) as governor:
                assert isinstance(governor.port, ResourceGovernor)
                return await work(governor.port)

        return self.pool.submit(lambda: asyncio.run(run())).result(90)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The facts of all events of a kind."""
        answer = self.http.get(f"{self.url}/api/v1/events?limit=500", headers=AS_OPERATOR)
        return [one["facts"] for one in answer.json()["events"] if one["kind"] == kind]

    def publish(self, *rules: dict[str, Any]) -> None:
        """Put rules in force."""
        answer = self.http.put(
            f"{self.url}/api/v1/policy",
            json={"schema": 1, "rules": list(rules)},
            headers=AS_OPERATOR | {"If-Match": "*"},
        )
        assert answer.status_code == 200, answer.text


@contextmanager
def asking(settings: Settings) -> Iterator[Asking]:
    """Serve the settings until the block ends."""
    with ThreadPoolExecutor(16) as pool, serving(settings) as url:
        place = Asking(url, settings, pool)
        with place.http:
            yield place


WISH: dict[str, Any] = {"intent": "Rent it", "resource_type": "compute", "estimated_cost_usd": 12}


def ask_on(settings: Settings, **wish: Any) -> Verdict:
    """Ask once, as a process of its own, and do not wait."""

    async def ask() -> Verdict:
        async with aegis_core.connect(settings=settings) as governor:
            return await (await governor.handshake("worker")).request(**wish)

    return asyncio.run(ask())
