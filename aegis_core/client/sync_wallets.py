"""Wallets of chains for plain code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager

from aegis_core.client.portal import Bridged, Portal
from aegis_core.client.sync_grants import BridgedGrant
from aegis_core.client.wallets import HeldTransaction, Wallet
from aegis_core.protocol.transactions import TransactionReport


class SyncTransaction(BridgedGrant[HeldTransaction]):
    """`HeldTransaction` for plain code."""

    send = Bridged.method(HeldTransaction.send, Portal.run)
    settled = Bridged.method(HeldTransaction.settled, Portal.run)

    @property
    def report(self) -> TransactionReport | None:
        """How it stood when it was last looked at."""
        return self._inner.report


@contextmanager
def _held(portal: Portal, block: AbstractAsyncContextManager[HeldTransaction]) -> Generator[SyncTransaction]:
    with portal.hold(block) as held:
        yield SyncTransaction(portal, held)


class SyncWallet(Bridged[Wallet]):
    """`Wallet` for plain code."""

    preview = Bridged.method(Wallet.preview, Portal.run)
    transact = Bridged.method(Wallet.transact, _held)
