"""``aegis chains``: gas on the chains that are set up, what a transaction can cost, and what it would do."""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aegis_core.chains.units import COIN_UNITS, GAS_UNITS, gas_words
from aegis_core.cli.common import JsonFlag, dollars, json_line, print_json, say, shown, stdout_console
from aegis_core.protocol.accounts import EVM, SOLANA, SUI
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
_TRANSFER_GAS, _TRANSFER_LAMPORTS = 21_000, 5_000
_SIGNED = "The signed transaction as 0x… (of Solana and Sui also in base64), or - to read it from stdin"
_MOST_TEXT = 2_700_000


@dataclass(frozen=True, slots=True)
class ChainLine:
    """One chain now. `base_fee_wei` is text, because JSON numbers are not exact, and in `gas_unit`; `transfer_usd`: a
    plain transfer, where its cost is known."""

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
    gas_unit: str


@dataclass(frozen=True, slots=True)
class TransactionQuote:
    """What a signed transaction can cost at most. Amounts of the coin are text, in its smallest unit, which `unit`
    names."""

    chain: str
    id: str
    hash: str | None
    type: int | None
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
    unit: str


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
    chain: Annotated[str, typer.Argument(help="Its name, or CAIP-2: monad, solana, sui, eip155:143")],
    transaction: Annotated[str, typer.Argument(help=_SIGNED)],
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

    table = Table("", found.unit, "at most", box=None, header_style="bold", pad_edge=False)
    table.add_row("fees", f"{int(found.fees_wei):,}", dollars(found.fees_usd))
    table.add_row("value", f"{int(found.value_wei):,}", dollars(found.value_usd))
    table.add_row("total", f"{int(found.total_wei):,}", dollars(found.total_usd))
    console = stdout_console()
    evm = found.type is not None
    whom = f" to {found.to or 'a new contract'}, nonce {found.nonce}" if evm else f": {found.hash}"
    console.print(f"{found.chain}: {found.sender}{whom}", markup=False)
    console.print(table)


@app.command()
def simulate(
    chain: Annotated[str, typer.Argument(help="Its name, or CAIP-2: monad, solana, sui, eip155:143")],
    transaction: Annotated[str, typer.Argument(help=_SIGNED)],
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
        return await previewed(found, _bytes(found, text.strip()), await found.usd(now), now)

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
    gas = _gas(line)
    cost = "" if line.transfer_usd is None else f", a transfer {dollars(line.transfer_usd)}"
    block = "" if line.block is None else f", block {line.block:,}"
    text = f"{time.strftime('%H:%M:%S')} {shown(line.chain)} {gas}{cost}{block}"
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
    if gas is not None and state.usd is not None and profile.family != SUI:  # there storage decides
        evm = profile.family == EVM
        native = _TRANSFER_GAS * gas.base_fee if evm else _TRANSFER_LAMPORTS
        transfer = to_usd(to_nanos(native, state.usd, profile.decimals))
    return ChainLine(
        profile.name, profile.id, profile.testnet, len(chain.network.nodes), chain.network.quorum,
        gas.sources if gas else None, str(gas.base_fee) if gas else None, gas.block if gas else None,
        max(0.0, round(now - gas.at, 1)) if gas else None, profile.symbol, state.usd, transfer, state.problems,
        GAS_UNITS[profile.family],
    )  # fmt: skip


async def _quoted(chain: Chain, text: str) -> TransactionQuote:
    from aegis_core.chains.cost import to_nanos
    from aegis_core.chains.other import OtherChain
    from aegis_core.chains.transaction import decode

    raw, profile, usd = _bytes(chain, text), chain.profile, await chain.usd(time.time())
    if isinstance(chain, OtherChain):
        said = await chain.describe(raw, chain.wallets_of(raw)[0])
        most, kind, nonce = said.cost, None, None
        name, sender, to = said.request, said.wallet, said.to
    else:
        found = decode(raw)
        most, kind, nonce = await chain.bound(found), found.type, found.nonce
        name, sender, to = found.hash, found.sender, found.to
    return TransactionQuote(
        profile.name, profile.id, name, kind, sender, nonce, to, str(most.value), str(most.fees), str(most.total), usd,
        *(to_usd(to_nanos(amount, usd, profile.decimals)) for amount in (most.value, most.fees, most.total)),
        unit=COIN_UNITS[profile.family],
    )  # fmt: skip


def _bytes(chain: Chain, text: str) -> bytes:
    evm = chain.profile.family == EVM
    if not evm and not text.startswith("0x"):
        return _from_base64(chain, text)
    if not text.startswith("0x") or len(text) % 2:
        problem = "must be the signed bytes in hexadecimal, with 0x before them"
        raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem)
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        problem = "holds something else than hexadecimal digits"
        raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem) from None


def _from_base64(chain: Chain, text: str) -> bytes:
    """A transaction as its SDK writes it: of Sui without signatures."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        problem = "is neither hexadecimal with 0x before it, nor base64"
        raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem) from None
    if chain.profile.family == SOLANA:
        return raw
    from aegis_core.chains.sui.wire import signed

    return signed(raw)


def _gas(line: ChainLine) -> str:
    family = line.id.partition(":")[0]
    return "unknown" if line.base_fee_wei is None else gas_words(family, int(line.base_fee_wei))


def _table(lines: list[ChainLine]) -> None:
    from rich.table import Table

    table = Table("chain", box=None, header_style="bold", pad_edge=False)
    for column in ("gas", "block", "age", "nodes", "a coin", "a transfer"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            shown(line.chain) + (" (test network)" if line.testnet else ""),
            _gas(line),
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
