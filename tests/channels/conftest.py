"""Each test has a Bot API, a server with a bot, and a tenant of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import Asking, asking, on_telegram
from botapi import BotApi, bot_api

from aegis_core import Settings


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with bot_api() as api:
        yield api


@pytest.fixture
def place(settings: Settings, telegram: BotApi) -> Iterator[Asking]:
    with asking(on_telegram(settings, telegram)) as served:
        yield served
