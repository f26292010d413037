"""A Solana of this machine: `LiteSVM` runs its virtual machine, and a small server speaks the JSON-RPC of a node."""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import (
    AdvanceNonceAccountParams,
    CreateAccountParams,
    InitializeNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    create_account,
    initialize_nonce_account,
    transfer,
)
from solders.token import ID as TOKEN_PROGRAM
from solders.token.associated import get_associated_token_address
from solders.transaction import Transaction, VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo

ASSOCIATED_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
NEWER_TOKENS = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
GENESIS = "LiteSVM1111111111111111111111111"
SOL = 10**9
_VALID, _TOKEN_ACCOUNT = 150, 165


@dataclass
class Landed:
    """What the chain keeps of a transaction."""

    height: int
    meta: dict[str, Any]
    keys: list[str]


@dataclass
class Solana:
    """The chain, and what a test does to it beside what is under test.

    Attributes:
        height: of the newest block; `behind`: so many blocks before it is the newest final one.
        fees: what was lately offered for a compute unit.
        preflight: whether it refuses what would fail now; `drops`: whether it accepts things and forgets them.
    """

    svm: LiteSVM = field(default_factory=lambda: LiteSVM().with_sigverify(False))
    height: int = 1_000
    behind: int = 0
    fees: list[int] = field(default_factory=lambda: [0])
    preflight: bool = True
    drops: bool = False
    sent: int = 0
    landed: dict[str, Landed] = field(default_factory=dict[str, Landed])
    issued: dict[str, int] = field(default_factory=dict[str, int])
    broken: Callable[[str, Any], Any] | None = None

    def __post_init__(self) -> None:
        self.issued[str(self.svm.latest_blockhash())] = self.height

    def account(self, coins: float = 10) -> Keypair:
        """An account with coins of its own."""
        made = Keypair()
        self.svm.airdrop(made.pubkey(), int(coins * SOL))
        return made

    def balance(self, account: Pubkey) -> int:
        return int(self.svm.get_balance(account) or 0)

    def expire(self) -> None:
        """What names the newest blockhash can land no more."""
        self.svm.expire_blockhash()
        self.height += _VALID + 1
        self.issued[str(self.svm.latest_blockhash())] = self.height

    def signed(self, calls: Iterable[Instruction], *signers: Keypair, blockhash: Hash | None = None) -> bytes:
        """A legacy transaction, which the first of the signers pays for."""
        newest = blockhash or self.svm.latest_blockhash()
        message = Message.new_with_blockhash(list(calls), signers[0].pubkey(), newest)
        return bytes(Transaction(list(signers), message, newest))

    def unsigned(self, calls: Iterable[Instruction], payer: Pubkey) -> bytes:
        """The same with zeros for signatures."""
        message = Message.new_with_blockhash(list(calls), payer, self.svm.latest_blockhash())
        return bytes([message.header.num_required_signatures]) + bytes(64) + bytes(message)

    def land(self, calls: Iterable[Instruction], *signers: Keypair) -> None:
        """Run something beside what is under test."""
        done = self.svm.send_transaction(VersionedTransaction.from_bytes(self.signed(calls, *signers)))
        assert not isinstance(done, FailedTransactionMetadata), done
        self.svm.expire_blockhash()
        self.issued[str(self.svm.latest_blockhash())] = self.height

    def call(self, method: str, given: list[Any]) -> Any:
        """The answer of a node; raises `Refused`."""
        answer = getattr(self, "_" + re.sub("([A-Z])", lambda letter: f"_{letter[1].lower()}", method), None)
        if answer is None:
            raise Refused(-32601, "Method not found")
        found = answer(*given)
        return self.broken(method, found) if self.broken else found

    def _at(self, value: object) -> dict[str, object]:
        return {"context": {"slot": self.height}, "value": value}

    def _get_genesis_hash(self) -> str:
        return GENESIS + "tail"

    def _get_version(self) -> object:
        return {"solana-core": "2.3.0", "feature-set": 1}

    def _get_health(self) -> str:
        return "ok"

    def _get_slot(self, how: dict[str, Any] | None = None) -> int:
        return self._get_block_height(how)

    def _get_block_time(self, _slot: int) -> int:
        return int(time.time())

    def _get_block_height(self, how: dict[str, Any] | None = None) -> int:
        return self.height - (self.behind if (how or {}).get("commitment", "finalized") == "finalized" else 0)

    def _get_recent_prioritization_fees(self, _accounts: list[str]) -> object:
        return [{"slot": self.height - at, "prioritizationFee": fee} for at, fee in enumerate(self.fees)]

    def _is_blockhash_valid(self, blockhash: str, _how: object = None) -> object:
        return self._at(blockhash == str(self.svm.latest_blockhash()))

    def _get_latest_blockhash(self, _how: object = None) -> object:
        newest = str(self.svm.latest_blockhash())
        return self._at({"blockhash": newest, "lastValidBlockHeight": self.issued.get(newest, self.height) + _VALID})

    def _get_balance(self, account: str, _how: object = None) -> object:
        return self._at(self.balance(Pubkey.from_string(account)))

    def _get_minimum_balance_for_rent_exemption(self, size: int, _how: object = None) -> int:
        return int(self.svm.minimum_balance_for_rent_exemption(size))

    def _get_account_info(self, account: str, _how: object = None) -> object:
        return self._at(_shown(self.svm.get_account(Pubkey.from_string(account))))

    def _get_multiple_accounts(self, accounts: list[str], _how: object = None) -> object:
        return self._at([_shown(self.svm.get_account(Pubkey.from_string(each))) for each in accounts])

    def _get_transaction(self, signature: str, how: dict[str, Any] | None = None) -> object:
        found = self.landed.get(signature)
        if found is None or found.height > self._get_block_height(how):
            return None
        keys: dict[str, Any] = {"accountKeys": found.keys}
        transaction = {"signatures": [signature], "message": keys}
        return {"slot": found.height, "meta": found.meta, "transaction": transaction, "version": "legacy"}

    def _get_signature_statuses(self, signatures: list[str], _how: object = None) -> object:
        found = [self.landed.get(each) for each in signatures]
        return self._at([
            each and {"slot": each.height, "err": each.meta["err"], "confirmationStatus": "finalized"} for each in found
        ])  # fmt: skip

    def _simulate_transaction(self, content: str, how: dict[str, Any]) -> object:
        raw = b64decode(content)
        transaction = VersionedTransaction.from_bytes(raw)
        if how.get("replaceRecentBlockhash"):
            old, new = bytes(transaction.message.recent_blockhash), bytes(self.svm.latest_blockhash())
            transaction = VersionedTransaction.from_bytes(raw.replace(old, new, 1))
        done = self.svm.simulate_transaction(transaction)
        failed = isinstance(done, FailedTransactionMetadata)
        meta = done.meta()
        after: dict[str, Any] = {}
        if isinstance(done, SimulatedTransactionInfo):
            after = {str(key): state for key, state in done.post_accounts()}
        shown = [
            _shown(after.get(each) or self.svm.get_account(Pubkey.from_string(each)))
            for each in how["accounts"]["addresses"]
        ]  # fmt: skip
        inner = [
            {"index": at, "instructions": [{"programIdIndex": each.instruction().program_id_index} for each in calls]}
            for at, calls in enumerate(meta.inner_instructions()) if calls
        ]  # fmt: skip
        return self._at({
            "err": str(done.err()) if failed else None, "logs": meta.logs(), "innerInstructions": inner,
            "unitsConsumed": meta.compute_units_consumed(), "accounts": None if failed else shown,
        })  # fmt: skip

    def _send_transaction(self, content: str, how: dict[str, Any]) -> str:
        transaction = VersionedTransaction.from_bytes(b64decode(content))
        signature = str(transaction.signatures[0])
        if not all(transaction.verify_with_results()):
            raise Refused(-32003, "Transaction signature verification failure")
        if signature in self.landed:
            return signature
        if self.preflight and not how.get("skipPreflight"):
            tried = self.svm.simulate_transaction(transaction)
            if isinstance(tried, FailedTransactionMetadata):
                raise Refused(-32002, f"Transaction simulation failed: {tried.err()}", {"err": str(tried.err())})
        if self.drops:
            return signature
        keys = self._keys(transaction)
        before, held = [self.balance(each) for each in keys], self._tokens(keys)
        done = self.svm.send_transaction(transaction)
        failed = isinstance(done, FailedTransactionMetadata)
        meta, after = done.meta() if isinstance(done, FailedTransactionMetadata) else done, [*map(self.balance, keys)]
        if failed and after == before:
            return signature  # it was dropped
        self.sent += 1
        self.height += 1
        self.landed[signature] = Landed(
            self.height,
            {
                "err": str(done.err()) if isinstance(done, FailedTransactionMetadata) else None, "fee": meta.fee(),
                "preBalances": before, "postBalances": after, "preTokenBalances": held,
                "postTokenBalances": self._tokens(keys),
                "loadedAddresses": {"writable": [], "readonly": []},
            },
            [*map(str, keys)],
        )  # fmt: skip
        return signature

    def _tokens(self, keys: list[Pubkey]) -> list[dict[str, Any]]:
        """Which of the accounts keep tokens: whose they are, and how many."""
        states = [self.svm.get_account(key) for key in keys]
        return [
            {
                "accountIndex": at, "mint": str(Pubkey(state.data[:32])), "owner": str(Pubkey(state.data[32:64])),
                "programId": str(state.owner),
                "uiTokenAmount": {"amount": str(int.from_bytes(state.data[64:72], "little")), "decimals": 6},
            }
            for at, state in enumerate(states)
            if state is not None and state.owner in {TOKEN_PROGRAM, NEWER_TOKENS} and len(state.data) == _TOKEN_ACCOUNT
        ]  # fmt: skip

    def _keys(self, transaction: VersionedTransaction) -> list[Pubkey]:
        """Its accounts, those of tables too: first all that are written, then all that are read."""
        message = transaction.message
        written, read = list[Pubkey](), list[Pubkey]()
        for lookup in message.address_table_lookups if isinstance(message, MessageV0) else []:
            table = self.svm.get_account(lookup.account_key)
            assert table is not None
            held = [Pubkey(table.data[at : at + 32]) for at in range(56, len(table.data), 32)]
            written += [held[place] for place in lookup.writable_indexes]
            read += [held[place] for place in lookup.readonly_indexes]
        return [*message.account_keys, *written, *read]

    def fee_paid(self, raw: bytes) -> int:
        """The fee of what landed, as the virtual machine says it."""
        return int(self.landed[str(VersionedTransaction.from_bytes(raw).signatures[0])].meta["fee"])


class Refused(Exception):  # noqa: N818 - an answer of a node, told to the server below
    """An error of JSON-RPC."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.data = code, data


def _shown(account: Any) -> object:
    if account is None:
        return None
    return {
        "lamports": account.lamports, "owner": str(account.owner), "data": [b64encode(account.data).decode(), "base64"],
        "executable": account.executable, "rentEpoch": 0,
    }  # fmt: skip


def pay(source: Pubkey, target: Pubkey, lamports: int) -> Instruction:
    return transfer(TransferParams(from_pubkey=source, to_pubkey=target, lamports=lamports))


def associated(payer: Pubkey, owner: Pubkey, mint: Pubkey, program: Pubkey = TOKEN_PROGRAM) -> Instruction:
    """Opens the account in which an owner keeps its tokens of a mint."""
    made = get_associated_token_address(owner, mint, program)
    accounts = [(payer, True, True), (made, False, True), (owner, False, False), (mint, False, False),
                (SYSTEM_PROGRAM, False, False), (program, False, False)]  # fmt: skip
    return Instruction(ASSOCIATED_PROGRAM, b"\0", [AccountMeta(*each) for each in accounts])


def new_mint(chain: Solana, program: Pubkey = TOKEN_PROGRAM) -> Pubkey:
    """A kind of token of which there is any amount."""
    data = bytes(36) + (10**15).to_bytes(8, "little") + b"\6\1" + bytes(36)
    return _placed(chain, data, program)


def holding(chain: Solana, owner: Pubkey, mint: Pubkey, amount: int, program: Pubkey = TOKEN_PROGRAM) -> Pubkey:
    """An account with so many tokens."""
    data = bytes(mint) + bytes(owner) + amount.to_bytes(8, "little") + bytes(36) + b"\1" + bytes(56)
    return _placed(chain, data, program)


def new_nonce(chain: Solana, owner: Keypair) -> tuple[Pubkey, Hash]:
    """An account with a durable nonce, and the value of it."""
    made = Keypair()
    create = create_account(CreateAccountParams(
        from_pubkey=owner.pubkey(), to_pubkey=made.pubkey(), lamports=1_500_000, space=80, owner=SYSTEM_PROGRAM
    ))  # fmt: skip
    start = initialize_nonce_account(InitializeNonceAccountParams(nonce_pubkey=made.pubkey(), authority=owner.pubkey()))
    chain.land([create, start], owner, made)
    held = chain.svm.get_account(made.pubkey())
    assert held is not None
    return made.pubkey(), Hash.from_bytes(bytes(held.data)[40:72])


def advance(nonce: Pubkey, owner: Pubkey) -> Instruction:
    """The first instruction of what has a durable nonce."""
    return advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=nonce, authorized_pubkey=owner))


def new_table(chain: Solana, *accounts: Pubkey) -> AddressLookupTableAccount:
    """A table in which transactions of version 0 look accounts up."""
    head = b"\1\0\0\0" + b"\xff" * 8 + bytes(44)
    place = _placed(chain, head + b"".join(map(bytes, accounts)), TABLES)
    return AddressLookupTableAccount(place, list(accounts))


def _placed(chain: Solana, data: bytes, owner: Pubkey) -> Pubkey:
    place = Pubkey.new_unique()
    chain.svm.set_account(place, Account(chain.svm.minimum_balance_for_rent_exemption(len(data)), data, owner))
    return place


def token_call(
    kind: int, data: bytes, *accounts: tuple[Pubkey, bool, bool], program: Pubkey = TOKEN_PROGRAM
) -> Instruction:
    """An instruction of the token program; of each account whether it signs and is written."""
    return Instruction(program, bytes([kind]) + data, [AccountMeta(*each) for each in accounts])


def as_version_0(raw: bytes, payer: Keypair, calls: Iterable[Instruction], tables: Iterable[Any] = ()) -> bytes:
    """The same calls as a transaction of version 0, which looks accounts up in tables."""
    old = VersionedTransaction.from_bytes(raw)
    message = MessageV0.try_compile(payer.pubkey(), list(calls), list(tables), old.message.recent_blockhash)
    return bytes(VersionedTransaction(message, [payer]))


@asynccontextmanager
async def serving(*chains: Solana) -> AsyncIterator[list[str]]:
    """A node for each chain given, by their URLs."""
    servers = [await asyncio.start_server(_talker(chain), "127.0.0.1", 0) for chain in chains]
    try:
        yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/key-of-the-operator" for server in servers]
    finally:
        for server in servers:
            server.close()


def _talker(chain: Solana) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                (length,) = (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                asked = json.loads(await reader.readexactly(length))
                said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
                try:
                    said["result"] = chain.call(asked["method"], asked.get("params", []))
                except Refused as error:
                    said["error"] = {"code": error.code, "message": str(error), "data": error.data}
                body = json.dumps(said).encode()
                headers = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return talk


def signature_of(raw: bytes) -> str:
    return str(Signature.from_bytes(raw[1:65]))
