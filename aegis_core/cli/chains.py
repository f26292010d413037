"""``aegis chains``: gas on the chains that are set up, what a transaction can cost, and what it would do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aegis_core.cli.common import JsonFlag, dollars, json_line, print_json, say, shown, stdout_console
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError
from aegis_core.protocol.money import to_usd
from aegis_core.settings import load_settings

if TYPE_CHECKING:
    from aegis_core.chains.book import Chain, Chains
    from aegis_core.protocol.chains import TransactionPreview

app = typer.Typer(
    help="Show gas prices, and what transactions can cost.\n\nExample: aegis chains status", no_args_is_help=True
)

_T = TypeVar("_T")
_GWEI = 10**9
_TRANSFER_GAS = 21_000
_MOST_TEXT = 2_700_000


@dataclass(frozen=True, slots=True)
class ChainLine:
    """One chain now. `base_fee_wei` is text, because JSON numbers are not exact; `transfer_usd`: a plain transfer."""

    chain: str
    id: str
    testnet: bool
    nodes: int
    quorum: int
    sources: int | None
    base_fee_wei: str | None
    block: int | None
    age_seconds: float | None
    coin: str
    coin_usd: Decimal | None
    transfer_usd: Decimal | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionQuote:
    """What a signed transaction can cost at most. Amounts of the coin are text of whole wei."""

    chain: str
    id: str
    hash: str | None
    type: int
    sender: str
    nonce: int | None
    to: str | None
    value_wei: str
    fees_wei: str
    total_wei: str
    coin_usd: Decimal
    value_usd: Decimal
    fees_usd: Decimal
    total_usd: Decimal


@app.command()
def status(json: JsonFlag = False) -> None:
    """Show gas now, of how many nodes, how old, and what it costs in dollars. Exit code 1 when a chain fails.

    Example: aegis chains status --json
    """

    async def work(chains: Chains) -> list[ChainLine]:
        return await asyncio.gather(*map(_line, chains))

    lines = _with_chains(work)
    if json:
        print_json(lines)
    else:
        _table(lines)
    if any(line.problems for line in lines):
        raise typer.Exit(1)


@app.command()
def quote(
    chain: Annotated[str, typer.Argument(help="Its name, or CAIP-2: monad, eip155:143")],
    transaction: Annotated[str, typer.Argument(help="The signed transaction as 0x…, or - to read it from stdin")],
    json: JsonFlag = False,
) -> None:
    """Show what a signed transaction can cost at most. Nothing is sent, and nothing reserved.

    Example: aegis chains quote monad 0x02f8…
    """
    text = sys.stdin.read(_MOST_TEXT) if transaction == "-" else transaction
    found = _with_chains(lambda chains: _quoted(chains.find(chain), text.strip()))
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table("", "wei", "at most", box=None, header_style="bold", pad_edge=False)
    table.add_row("fees", f"{int(found.fees_wei):,}", dollars(found.fees_usd))
    table.add_row("value", f"{int(found.value_wei):,}", dollars(found.value_usd))
    table.add_row("total", f"{int(found.total_wei):,}", dollars(found.total_usd))
    console = stdout_console()
    console.print(f"{found.chain}: {found.sender} to {found.to or 'a new contract'}, nonce {found.nonce}", markup=False)
    console.print(table)


@app.command()
def simulate(
    chain: Annotated[str, typer.Argument(help="Its name, or CAIP-2: monad, eip155:143")],
    transaction: Annotated[str, typer.Argument(help="The signed transaction as 0x…, or - to read it from stdin")],
    json: JsonFlag = False,
) -> None:
    """Show what a signed transaction would do now: what leaves, what comes, approvals, slippage. Nothing is sent.

    Exit code 1 when it would be reverted, or cannot be simulated.

    Example: aegis chains simulate monad 0x02f8…
    """
    from aegis_core.governor.chain_views import previewed

    text = sys.stdin.read(_MOST_TEXT) if transaction == "-" else transaction

    async def work(chains: Chains) -> TransactionPreview:
        found, now = chains.find(chain), time.time()
        return await previewed(found, _bytes(text.strip()), await found.usd(now), now)

    preview = _with_chains(work)
    if json:
        print_json(preview)
    else:
        from aegis_core.cli.chains_page import show_preview

        show_preview(preview)
    done = preview.transaction.simulation
    if done is None or not done.success:
        raise typer.Exit(1)


@app.command()
def watch(
    every: Annotated[float, typer.Option(help="Seconds between two looks", min=0.1, max=3_600)] = 2,
    looks: Annotated[int | None, typer.Option(help="How many; without it, until it is interrupted", min=1)] = None,
    json: JsonFlag = False,
) -> None:
    """Show gas as it changes: a line for each block that moves it, and for each thing that goes wrong.

    Example: aegis chains watch --every 1
    """

    async def work(chains: Chains) -> None:
        seen: dict[str, tuple[str | None, tuple[str, ...]]] = {}
        done = 0
        while looks is None or done < looks:
            if done:
                await asyncio.sleep(every)
            done += 1
            for line in await asyncio.gather(*map(_line, chains)):
                told = (line.base_fee_wei, line.problems)
                if seen.get(line.id) != told:
                    seen[line.id] = told
                    _tell(line, json)

    with suppress(KeyboardInterrupt):
        _with_chains(work)


def _tell(line: ChainLine, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_line(line) + "\n")
        return
    gwei = "unknown" if line.base_fee_wei is None else f"{Decimal(line.base_fee_wei) / _GWEI:,.9g} gwei"
    cost = "" if line.transfer_usd is None else f", a transfer {dollars(line.transfer_usd)}"
    block = "" if line.block is None else f", block {line.block:,}"
    text = f"{time.strftime('%H:%M:%S')} {shown(line.chain)} {gwei}{cost}{block}"
    stdout_console().print(text, markup=False, highlight=False)
    for problem in line.problems:
        say(problem)


def _with_chains(work: Callable[[Chains], Awaitable[_T]]) -> _T:
    """Open the chains of the settings, do the work, and close them.

    Raises:
        ConfigurationError: none are set up.
    """
    from aegis_core.chains.book import opened_chains

    path: Path | None = load_settings().chains_file
    if path is None:
        raise ConfigurationError(
            "No chain is set up. Name a file of chains in AEGIS_CHAINS_FILE, such as "
            '{"monad": {"rpc": ["https://…"], "usd": "0.03"}}.',
            field="AEGIS_CHAINS_FILE",
        )

    async def run() -> _T:
        async with opened_chains(path) as chains:
            return await work(chains)

    return asyncio.run(run())


async def _line(chain: Chain) -> ChainLine:
    from aegis_core.chains.cost import to_nanos

    now, profile = time.time(), chain.profile
    state = await chain.look(now)
    gas, transfer = state.gas, None
    if gas is not None and state.usd is not None:
        transfer = to_usd(to_nanos(_TRANSFER_GAS * gas.base_fee, state.usd))
    return ChainLine(
        profile.name, profile.id, profile.testnet, len(chain.network.nodes), chain.network.quorum,
        gas.sources if gas else None, str(gas.base_fee) if gas else None, gas.block if gas else None,
        max(0.0, round(now - gas.at, 1)) if gas else None, profile.symbol, state.usd, transfer, state.problems,
    )  # fmt: skip


async def _quoted(chain: Chain, text: str) -> TransactionQuote:
    from aegis_core.chains.cost import to_nanos
    from aegis_core.chains.transaction import decode

    found = decode(_bytes(text))
    most, usd = await chain.bound(found), await chain.usd(time.time())
    return TransactionQuote(
        chain.profile.name, chain.profile.id, found.hash, found.type, found.sender, found.nonce, found.to,
        str(most.value), str(most.fees), str(most.total), usd,
        *(to_usd(to_nanos(amount, usd)) for amount in (most.value, most.fees, most.total)),
    )  # fmt: skip


def _bytes(text: str) -> bytes:
    if not text.startswith("0x") or len(text) % 2:
        problem = "must be the signed bytes in hexadecimal, with 0x before them"
        raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem)
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        problem = "holds something else than hexadecimal digits"
        raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem) from None


def _table(lines: list[ChainLine]) -> None:
    from rich.table import Table

    table = Table("chain", box=None, header_style="bold", pad_edge=False)
    for column in ("gwei", "block", "age", "nodes", "a coin", "a transfer"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            shown(line.chain) + (" (test network)" if line.testnet else ""),
            "unknown" if line.base_fee_wei is None else f"{Decimal(line.base_fee_wei) / _GWEI:,.9g}",
            "" if line.block is None else f"{line.block:,}",
            "" if line.age_seconds is None else f"{line.age_seconds:g} s",
            f"{line.sources or 0} of {line.nodes}",
            "unknown" if line.coin_usd is None else f"${line.coin_usd:f}",
            "" if line.transfer_usd is None else dollars(line.transfer_usd),
        )
    stdout_console().print(table)
    for line in lines:
        for problem in line.problems:
            say(problem)
