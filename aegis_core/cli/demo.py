"""``aegis demo``: the main job, for real, in a few seconds."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket

    import uvicorn

    from aegis_core.settings import Settings

GRANT_SECONDS = 4.0
"""The deadline of a grant in the demonstration, so that an unsettled one is seen to be charged. Usually 10 minutes."""

_START_SECONDS = 60.0
_PICTURED = ("2", "4", "6", "What routing saved")
"""How the scenes begin that a picture shows."""


def demo(
    pause: Annotated[
        bool | None, typer.Option("--pause/--no-pause", help="Wait between the lines; default: on a terminal.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Write a picture of some of its scenes there, too.")] = None,
) -> None:
    """Watch several agents ask for money, models and permission, on a governor of their own.

    A throw-away server and the HTTP API start on this machine. No model is called and no key is needed: the agents
    report the token usage that is written in their part. Every verdict, receipt and sum is the governor's own.
    """
    import asyncio

    from rich.console import Console

    from aegis_core.cli.demo_page import Page
    from aegis_core.cli.demo_scenes import play

    console = Console(highlight=False, soft_wrap=False)
    if svg is not None:
        console = Console(highlight=False, soft_wrap=False, width=88, record=True, force_terminal=True)
    slow = console.is_terminal and svg is None if pause is None else pause
    page = Page(console, 0.35 if slow else 0.0, _PICTURED if svg is not None else ())
    with _governor() as settings:
        sound = asyncio.run(play(settings, page))
    if svg is not None:
        console.save_svg(str(svg), title="aegis demo", clear=True, unique_id="aegis-demo")
    if not sound:
        raise typer.Exit(1)


def _settings(url: str, port: int, secret: str) -> Settings:
    """Everything that the demonstration depends on, whatever the environment says."""
    from pydantic import SecretStr

    from aegis_core.testing import private_settings, quiet_zone

    return private_settings(
        url=url, port=port, host="127.0.0.1", tenant="demo", timezone=quiet_zone(), log_level="error", agent_day_usd=10,
        tenant_day_usd=100, grant_seconds=GRANT_SECONDS, max_grant_seconds=60, approval_seconds=600,
        use_fake_redis=False, operator_secret=SecretStr(secret), pepper=None, reservation="strict",
    )  # fmt: skip


@contextmanager
def _governor() -> Generator[Settings]:
    """A governor's HTTP API on a free port, in a thread with a throw-away server; answers how to connect to it.

    Raises:
        ConfigurationError: the extra `server` is not installed. StoreError: it did not start in time.
    """
    import secrets
    import socket

    from aegis_core.protocol.distribution import installing
    from aegis_core.protocol.errors import ConfigurationError, StoreError
    from aegis_core.settings import EMBEDDED

    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The demonstration needs the extra `server` ({error.name} is missing): {installing('server')}"
        ) from None
    # asyncio sends answers without delay only on sockets that say they are TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    secret = secrets.token_urlsafe(32)
    config = uvicorn.Config("aegis", log_config=None, access_log=False, lifespan="on", server_header=False)
    api = _Api(uvicorn.Server(config), listening, _settings(EMBEDDED, port, secret))
    api.start()
    try:
        if not api.ready.wait(_START_SECONDS) or api.error:
            raise api.error or StoreError("The governor did not start in time.", reason="slow")
        yield _settings(f"http://127.0.0.1:{port}", port, secret)
    finally:
        api.server.should_exit = True
        api.join(_START_SECONDS)
        listening.close()


class _Api(threading.Thread):
    """The HTTP API with an event loop and a store of its own, as another process would have them."""

    def __init__(self, server: uvicorn.Server, listening: socket.socket, settings: Settings) -> None:
        super().__init__(name="aegis-demo-api", daemon=True)
        self.server, self._listening, self._settings = server, listening, settings
        self.ready = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        import asyncio

        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.error = error
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        import asyncio

        from aegis_core.api.app import create_app
        from aegis_core.connect import open_store

        store = await open_store(self._settings, throwaway=True)
        try:
            self.server.config.app = create_app(self._settings, store)
            serving = asyncio.create_task(self.server.serve(sockets=[self._listening]))
            while not (self.server.started or serving.done()):  # noqa: ASYNC110 - uvicorn only has a flag
                await asyncio.sleep(0.005)
            self.ready.set()
            await serving
        finally:
            await store.aclose()
