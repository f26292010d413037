"""Libraries of functions: those of two versions lie side by side, unused ones go, and a user needs few permissions."""

from __future__ import annotations

from typing import Any

import pytest
from plain import as_least, plain

import aegis_core
from aegis_core import Settings
from aegis_core.protocol.errors import StoreError
from aegis_core.store import layout, scripts
from aegis_core.store.libraries import UNUSED_MS
from aegis_core.store.scripts import ScriptSet
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

pytestmark = pytest.mark.leaves("grants")


@pytest.fixture
def server(server_url: str) -> Any:
    with plain(server_url, protocol=2) as client:
        yield client


def libraries(server: Any) -> set[str]:
    """The names of the libraries that the server holds."""
    return {dict(zip(each[::2], each[1::2], strict=True))[b"library_name"].decode() for each in server.function_list()}


async def test_two_libraries_decide_side_by_side(
    settings: Settings, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        read = scripts._read
        patched.setattr(scripts, "_read", lambda part: f"{read(part)}-- of another version\n")
        other = ScriptSet()
    async with aegis_core.connect(settings=settings) as one, aegis_core.connect(settings=settings) as two:
        two.port._ledger.store.scripts = other
        for each in (one, two, one):
            agent = await each.handshake("a")
            assert (await agent.request("Summarise", estimated_cost_usd="0.01")).granted
    assert {ScriptSet().library, other.library} <= libraries(server)


async def test_a_library_that_nobody_opens_goes_and_comes_back_when_it_is_called(
    settings: Settings, server: Any
) -> None:
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        library = ScriptSet().library
        assert library in libraries(server)
        server.zincrby(layout.LIBRARIES_KEY, -UNUSED_MS, library)  # as if opened a month ago
        opened = await open_store(settings, virtual_time=True)  # by a process of another version
        await opened.aclose()
        assert library not in libraries(server)
        assert server.zscore(layout.LIBRARIES_KEY, library) is None
        assert (await agent.request("Summarise", estimated_cost_usd="0.01")).granted
        assert library in libraries(server)


async def test_a_user_needs_what_the_documentation_says_and_no_more(
    settings: Settings, server: Any, server_url: str, tenant: str
) -> None:
    try:
        url = as_least(server_url)
        server.function_flush()
        async with aegis_core.connect(settings=private_settings(url=url, tenant=tenant)) as governor:
            agent = await governor.handshake("a")
            assert (await agent.request("Summarise", estimated_cost_usd="0.01")).granted
        server.execute_command("ACL", "SETUSER", "aegis", "-function|load")
        server.function_flush()
        with pytest.raises(StoreError, match="lacks a permission") as caught:
            async with aegis_core.connect(settings=private_settings(url=url, tenant=tenant)):
                pass
        assert caught.value.facts["reason"] == "auth"
    finally:
        as_least(server_url)
