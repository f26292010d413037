"""How ``aegis chains`` shows what a transaction would do, and the price of gas as it changes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table

from aegis_core.cli.common import dollars, shown, stdout_console
from aegis_core.protocol.accounts import EVM

if TYPE_CHECKING:
    from aegis_core.protocol.chains import TransactionPreview
    from aegis_core.protocol.transactions import SimulationFacts, SwapFacts, TransactionFacts

_UNKNOWN = "nobody knows"


def show_preview(found: TransactionPreview) -> None:
    """A table of what leaves and what comes, and a line for each thing that it lets others do."""
    facts, console = found.transaction, stdout_console()
    console.print(f"{facts.name}: {facts.address}{_whom(facts)}", markup=False)
    table = Table("", "amount", "worth", box=None, header_style="bold", pad_edge=False)
    table.add_row("fees, at most", "", dollars(found.fees_usd))
    table.add_row("coin that goes along", "", dollars(found.value_usd))
    if facts.simulation is not None:
        for move in facts.simulation.moves:
            what = "leaves" if move.leaves else "comes"
            worth = _UNKNOWN if move.usd is None else dollars(move.usd)
            table.add_row(f"{what}: {shown(move.symbol or move.asset)}", move.amount.removeprefix("-"), worth)
    table.add_row("leaves at most, beside fees", "", _dollars(facts.outflow_usd))
    table.add_row("would be held", "", dollars(found.reserves_usd))
    console.print(table)
    lines = [f"It could not be simulated: {facts.simulation_problem}"]
    if facts.simulation is not None:
        lines = _lines(facts.simulation)
    for line in [*lines, *_swap(facts.swap)]:
        console.print(shown(line), markup=False)


def _whom(facts: TransactionFacts) -> str:
    if facts.family == EVM:
        return f" to {facts.to or 'a new contract'}, nonce {facts.nonce}"
    paid = ", ".join("somebody that nobody can tell" if each is None else each for each in facts.recipients)
    calls = ", ".join(facts.calls)
    return f"{f' pays {paid}' if paid else ''}{f' by {calls}' if calls else ''}"


def _lines(done: SimulationFacts) -> list[str]:
    lines = [] if done.success else [f"It would be reverted: {done.reason}"]
    for each in done.approvals:
        amount = "everything" if each.unlimited else each.amount
        lines.append(f"{each.spender} may take {amount} of {each.symbol or each.token}")
    if done.creates:
        lines.append("It creates a contract.")
    if done.success:
        lines.append(f"Slippage: {_dollars(done.slippage_usd)}. Gas: {done.gas:,} of block {done.block:,}.")
    return lines


def _swap(swap: SwapFacts | None) -> list[str]:
    if swap is None:
        return []
    takes = _dollars(swap.takes_usd)
    return [f"Signed: {swap.sells} ({takes}) for at least {swap.buys} ({dollars(swap.least_usd)})"]


def _dollars(usd: Decimal | None) -> str:
    return _UNKNOWN if usd is None else dollars(usd)
