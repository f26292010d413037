"""A provider that bills and a proxy before it, for the tests of a module; each has keys and agents of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metering"))  # what providers answer, and cost by others' arithmetic

from places import Place, placed
from stands import Stand, standing

from aegis_core.proxy.app import Proxy
from aegis_core.proxy.exchange import Exchange
from aegis_core.testing import private_settings


@pytest.fixture(scope="module")
def _stand(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}")
    with standing(settings, tmp_path_factory.mktemp("proxy")) as found:
        yield found


@pytest.fixture
def stand(_stand: Stand) -> Iterator[Stand]:
    """The module's, with nothing asked and billed yet."""
    _stand.provider.forget()
    yield _stand
    _stand.provider.closed.set()
    _stand.provider.closed.clear()


@pytest.fixture(scope="module")
def _place(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}")
    with placed(settings, tmp_path_factory.mktemp("place")) as found:
        yield found


@pytest.fixture
def place(_place: Place) -> Place:
    """The module's, with nothing asked and billed yet."""
    _place.upstream.requests.clear()
    _place.upstream.bills.clear()
    return _place


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths that a proxy in this process was asked for."""
    found: list[bytes] = []
    handle = Proxy.handle

    async def noted(self: Proxy, exchange: Exchange) -> None:
        found.append(exchange.path)
        await handle(self, exchange)

    monkeypatch.setattr(Proxy, "handle", noted)
    return found
