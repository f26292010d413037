"""Transactions of chains over HTTP. The server has the nodes; the key that signs stays with the program."""

from __future__ import annotations

import time

from aegis_core.protocol.chains import ChainStatus, ChainStatuses, QuoteTransaction, TransactionPreview
from aegis_core.protocol.messages import Verdict
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder, TransactionReport
from aegis_core.remote.calls import Call, segment


class RemoteTransactions:
    """The same as `Transactions`, behind ``aegis serve``. The same bytes are the same transaction, so what was asked is
    asked again where an answer is lost."""

    def __init__(self, call: Call, token: str | None) -> None:
        self._call, self._token = call, token

    async def open(self, order: TransactionOrder, *, token: str | None = None, wait: float = 0) -> Verdict:
        """As `Transactions.open`."""
        until = time.monotonic() + wait
        verdict: Verdict = await self._call(
            "POST", "/transactions", Verdict, body=order, token=token, wait=wait, retry=True
        )
        while verdict.status == "PENDING" and verdict.grant_id and (left := until - time.monotonic()) > 0:
            path = f"/grants/{segment(verdict.grant_id)}"
            verdict = await self._call("GET", path, Verdict, token=token, wait=left, retry=True)
        return verdict

    async def send(self, message: SendTransaction, *, token: str | None = None) -> TransactionReport:
        """As `Transactions.send`."""
        path = f"/transactions/{segment(message.grant_id)}/send"
        return await self._call("POST", path, TransactionReport, body=message, token=token, retry=True)

    async def status(self, *, token: str | None = None) -> tuple[ChainStatus, ...]:
        """As `Transactions.status`."""
        found = await self._call("GET", "/chains", ChainStatuses, token=token or self._token, retry=True)
        return found.chains

    async def preview(self, message: QuoteTransaction, *, token: str | None = None) -> TransactionPreview:
        """As `Transactions.preview`."""
        return await self._call(
            "POST", "/transactions/quote", TransactionPreview, body=message, token=token or self._token, retry=True
        )

    async def report(
        self,
        grant_id: str,
        agent_id: str | None,  # noqa: ARG002 - the server knows whose the token is
        *,
        token: str | None = None,
        wait: float = 0,
    ) -> TransactionReport:
        """As `Transactions.report`."""
        path, until = f"/transactions/{segment(grant_id)}", time.monotonic() + wait
        while True:
            left = max(0.0, until - time.monotonic())
            report: TransactionReport = await self._call(
                "GET", path, TransactionReport, token=token or self._token, wait=left, retry=True
            )
            if report.state == "settled" or left <= 0:
                return report
