"""What the four agents have in common: a scripted model that pays until it is refused, and the tool that pays.

Each counts what really reaches it, in tokens and calls, and writes its own bill; the ledger of Aegis is not asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wallet import Wallet

from aegis_core.client.sync import SyncGovernedAgent

MODEL, CAP = "gpt-4o-mini", 64
INPUT_NANOS, OUTPUT_NANOS = 150, 600
"""Nano-dollars a token of that model."""
FEE_NANOS = 50_000_000
COSTS = {"pay": "0.05"}
"""Dollars a payment costs, beside the coin that leaves the wallet."""
WALLET, COINS = "wallet_main", 100
WAITS = {1: "until all are ready", 2: "until each has paid once"}
"""At which call of its model an agent waits for the others, and what for."""
THINKING = 0.1
"""Seconds the model takes for an answer."""
TASK = "Pay the open invoices, one after the other."


@dataclass(frozen=True)
class Answer:
    """What the model says, or the invoice that it wants to pay; and the tokens it took."""

    text: str
    invoice: int | None
    call_id: str
    input_tokens: int
    output_tokens: int


@dataclass
class Payer:
    """One agent's part."""

    aegis: SyncGovernedAgent
    wallet: Wallet
    tell: Callable[..., None]
    wait: Callable[[str], None]
    model_calls: int = 0
    nanos: int = 0
    refused: int = 0
    fences: list[int] = field(default_factory=list[int])

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.aegis.agent_id

    def answer(self, messages: Sequence[str]) -> Answer:
        """The model. It is called once for each call that the framework really makes."""
        self.model_calls += 1
        if self.model_calls in WAITS:
            self.wait(WAITS[self.model_calls])  # until the agents of all frameworks stand here
        time.sleep(THINKING)
        text, invoice = "", None
        if "Aegis refused" in messages[-1]:
            self.refused += 1
            self.tell(refusal=messages[-1].strip())
            text = f"I paid {len(self.fences)} invoices and stopped there."
        else:
            invoice = self.model_calls
        read, written = (max(1, len(said.encode()) // 4) for said in (" ".join(messages), text))
        self.nanos += read * INPUT_NANOS + written * OUTPUT_NANOS
        return Answer(text, invoice, f"{self.name}-{self.model_calls}", read, written)

    def pay(self, invoice: int) -> str:
        """Pay an invoice from the wallet, while holding it."""
        self.nanos += FEE_NANOS
        with self.aegis.lock(WALLET, wait="30s") as lease:
            fence = lease.fence
            left = self.wallet.spend(self.name, fence)
            self.fences.append(fence)
        self.tell(paid=invoice, fence=fence, left=left)
        return f"Invoice {invoice} is paid; {left} coins are left."
