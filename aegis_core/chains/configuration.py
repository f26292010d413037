"""The operator's file of chains: which nodes to ask, and where the price of each coin comes from.

``{"monad": {"rpc": ["https://…"], "usd": "0.03"}, "ethereum": {"rpc": ["https://…", "https://…", "https://…"],
"feed": {"address": "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419", "heartbeat_seconds": 3600}}}``. A chain that is not
known here says its ``id`` (``eip155:…``) and ``symbol``, and how it charges (``fees``). Agents never name a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from aegis_core.chains.price_pages import PricePage
from aegis_core.chains.profiles import ChainProfile, FeeModel, Finality, OperatorFee, find_profile
from aegis_core.chains.quantities import address, asset
from aegis_core.protocol.accounts import EVM, SOLANA, SUI
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.json_file import read_json_file
from aegis_core.protocol.parsing import Message

MOST_BYTES = 1_000_000
_SYNTAX = ConfigDict(frozen=True, extra="forbid")


def _http(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("is no URL; it begins with https://")
    return value


_Url = Annotated[str, Field(min_length=1, max_length=2_048), AfterValidator(_http)]
_Address = Annotated[str, AfterValidator(lambda value: address(value, "address"))]
_Asset = Annotated[str, Field(max_length=512), AfterValidator(asset)]
_Pointer = Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)+$", max_length=256)]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
_Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9.]{1,16}$")]
_ID = r"^(eip155:[1-9][0-9]{0,18}|solana:[1-9A-HJ-NP-Za-km-z]{32}|sui:[0-9a-f]{8})$"
_Seconds = Annotated[float, Field(gt=0, le=604_800, allow_inf_nan=False)]


class _Feed(Message):
    model_config = _SYNTAX

    address: _Address
    heartbeat_seconds: _Seconds
    chain: _Name | None = None
    sequencer: _Address | None = None


class _Page(Message):
    model_config = _SYNTAX

    url: _Url
    value: _Pointer
    time: _Pointer | None = None
    stale_seconds: _Seconds = 300


class _Token(Message):
    model_config = _SYNTAX

    address: _Asset
    decimals: Annotated[int, Field(ge=0, le=36)] = 18
    usd: Usd | None = None
    feed: _Feed | None = None
    http: _Page | None = None

    @model_validator(mode="after")
    def _one_price(self) -> _Token:
        if [self.usd, self.feed, self.http].count(None) != 2:
            raise ValueError("usd: give usd, feed or http; no token is worth a dollar by itself")
        return self


class _Stated(Message):
    model_config = _SYNTAX

    rpc: Annotated[tuple[_Url, ...], Field(min_length=1, max_length=16)]
    quorum: Annotated[int, Field(ge=1, le=16)] | None = None
    timeout_seconds: Annotated[float, Field(ge=0.05, le=60)] = 5
    gas_seconds: Annotated[float, Field(ge=0.5, le=600)] = 30
    usd: Usd | None = None
    feed: _Feed | None = None
    http: _Page | None = None
    tokens: dict[_Symbol, _Token] = Field(default={}, max_length=16)
    routers: tuple[_Address, ...] = Field(default=(), max_length=64)
    id: Annotated[str, Field(pattern=_ID)] | None = None
    symbol: _Symbol | None = None
    testnet: bool | None = None
    fees: FeeModel | None = None
    block_seconds: _Seconds | None = None
    stale_seconds: _Seconds | None = None
    types: frozenset[Annotated[int, Field(ge=0, le=4)]] | None = None
    finality: Finality | None = None
    most_gas: Annotated[int, Field(ge=21_000, le=2**63 - 1)] | None = None
    operator_fee: OperatorFee | None = None

    @model_validator(mode="after")
    def _consistent(self) -> _Stated:
        if self.quorum is not None and self.quorum > len(self.rpc):
            raise ValueError(f"quorum: {self.quorum} of {len(self.rpc)} nodes can never agree")
        if [self.usd, self.feed, self.http].count(None) < 2:
            raise ValueError("usd: give one of usd, feed and http")
        return self


@dataclass(frozen=True, slots=True)
class PriceFeed:
    """A price on a chain, as Chainlink keeps them.

    Attributes:
        address: of the contract, in lower case.
        heartbeat_seconds: how old its newest answer may be.
        chain: where it is; None: on the chain whose coin it prices.
        sequencer: the feed that says whether the sequencer of that chain works, where it has one.
    """

    address: str
    heartbeat_seconds: float
    chain: str | None = None
    sequencer: str | None = None


@dataclass(frozen=True, slots=True)
class PricedToken:
    """A token whose dollars an operator says, a feed or a page. `address` as of `asset`; `decimals` of its smallest
    unit."""

    symbol: str
    address: str
    decimals: int
    usd: Decimal | None = None
    feed: PriceFeed | None = None
    page: PricePage | None = None


@dataclass(frozen=True, slots=True)
class ChainSetup:
    """One chain as its operator set it up.

    Attributes:
        profile: what is known of it.
        rpc: the URLs of its nodes, which may hold keys, and are never shown.
        quorum: how many must say the same; None: more than half.
        timeout: seconds for one question to one node.
        usd: dollars for a coin; None: `feed` or `page` say so, or nobody does.
        feed: where that price is read on a chain.
        gas_seconds: how old a price of gas may be that a transaction is judged by.
        tokens: whose dollars are known.
        routers: contracts of whose swaps the least outcome is read, see `swaps`.
        page: where that price is read over HTTP.
    """

    profile: ChainProfile
    rpc: tuple[str, ...]
    quorum: int | None = None
    timeout: float = 5
    usd: Decimal | None = None
    feed: PriceFeed | None = None
    gas_seconds: float = 30
    tokens: tuple[PricedToken, ...] = ()
    routers: tuple[str, ...] = ()
    page: PricePage | None = None


def read_chains(path: Path) -> dict[str, ChainSetup]:
    """Read an operator's file of chains, by their names.

    Raises:
        ConfigurationError: it cannot be read, or holds something that describes no chain; names file and place.
    """
    shape = TypeAdapter(dict[_Name, _Stated])
    stated, _ = read_json_file(path, shape, partial(_refusal, path), most=MOST_BYTES)
    found = {name: _setup(path, name, each) for name, each in stated.items()}
    _check_whole(path, found)
    return found


def _setup(path: Path, name: str, stated: _Stated) -> ChainSetup:
    profile = find_profile(name)
    if profile is None:
        if stated.id is None or stated.symbol is None or stated.fees is None:
            raise _refusal(
                path,
                f"{name}: is not known here; say its id (eip155:…), its symbol, and how it charges (fees)",
            )
        family = stated.id.partition(":")[0]
        if (stated.fees if stated.fees in {SOLANA, SUI} else EVM) != family:
            raise _refusal(path, f"{name}.fees: {stated.fees} is not how a chain of {family} charges")
        profile = ChainProfile(stated.id, name, stated.symbol, decimals=18 if family == EVM else 9)
    elif stated.id not in {None, profile.id}:
        raise _refusal(path, f"{name}.id: is {profile.id}; call another chain by another name")
    changes = {
        field: value
        for field in (
            "symbol", "testnet", "fees", "block_seconds", "stale_seconds", "types", "finality", "most_gas",
            "operator_fee",
        )
        if (value := getattr(stated, field)) is not None
    }  # fmt: skip
    feed = _feed(stated.feed)
    tokens = tuple(
        PricedToken(symbol, each.address, each.decimals, each.usd, _feed(each.feed), _page(each.http))
        for symbol, each in stated.tokens.items()
    )
    profile = replace(profile, **changes)
    unpriced = stated.usd is None and feed is None and stated.http is None
    usd = Decimal(0) if profile.testnet and unpriced else stated.usd
    return ChainSetup(
        profile, stated.rpc, stated.quorum, stated.timeout_seconds, usd, feed, stated.gas_seconds, tokens,
        stated.routers, _page(stated.http),
    )  # fmt: skip


def _feed(stated: _Feed | None) -> PriceFeed | None:
    return stated and PriceFeed(stated.address, stated.heartbeat_seconds, stated.chain, stated.sequencer)


def _page(stated: _Page | None) -> PricePage | None:
    return stated and PricePage(stated.url, stated.value, stated.time, stated.stale_seconds)


def _check_whole(path: Path, found: Mapping[str, ChainSetup]) -> None:
    ids: dict[str, str] = {}
    for name, setup in found.items():
        if (other := ids.setdefault(setup.profile.id, name)) != name:
            raise _refusal(path, f"{name}: has the id of {other}, {setup.profile.id}")
        for feed in filter(None, (setup.feed, *(token.feed for token in setup.tokens))):
            if feed.chain and feed.chain not in found:
                raise _refusal(path, f"{name}.feed.chain: the file says nothing of a chain {feed.chain}")


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(f"AEGIS_CHAINS_FILE: {path}: {problem}", field="AEGIS_CHAINS_FILE", path=str(path))
