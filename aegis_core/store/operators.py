"""What operators keep for a tenant: profiles, keys, brakes, policy versions. Typed calls of scripts, as in `ledger`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from aegis_core.protocol.errors import NotFoundError
from aegis_core.store import forgetting, layout
from aegis_core.store import operator_verbs as acts
from aegis_core.store.arguments import EstimatesRow, PaceRow
from aegis_core.store.ledger import BudgetRow, Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.people import Key, Person
from aegis_core.store.records import Record
from aegis_core.store.schema import VERSION_ROW, Profiles, StoredPolicy
from aegis_core.store.verbs import AcceptLoss


class OperatorStore:
    """The operator's scripts of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self.tenant, self.store = ledger.tenant, ledger.store

    async def publish_profiles(self, document: str, author: str) -> int:
        """Put profiles in force; answers their version."""
        order = acts.PublishProfiles(document, author)
        return int((await self._ledger.call(self._scripts.publish_profiles, order))[1])

    async def read_profiles(self) -> tuple[int, str]:
        """Version and text of the profiles in force; 0 and nothing before the first."""
        answer = await self._ledger.call(self._scripts.read_profiles, acts.ReadProfiles())
        profiles = decode(Profiles, unpack(answer[1]))
        return profiles.version, profiles.document

    async def apply_profile(self, order: acts.ApplyProfile) -> bool:
        """Write a resolved profile into an agent's record; false when newer profiles are in force by now."""
        return (await self._ledger.call(self._scripts.apply_profile, order))[0] == b"OK"

    async def brake(self, agent: str | None, status: str, author: str) -> None:
        """Block or free an agent, halt or resume the tenant."""
        await self._ledger.call(self._scripts.brake, acts.Brake(agent, status, author))

    async def open_records(self, agent: str | None, decline_by: str | None) -> list[tuple[str, Record]]:
        """Every open record; with an operator's name, PENDING ones are declined on the way."""
        found: list[tuple[str, Record]] = []
        start: int | Literal[False] = 0
        while start is not False:
            answer = await self._ledger.call(self._scripts.list_open, acts.ListOpen(agent, start, decline_by))
            start, page = unpack(answer[1])
            found += [(key, decode(Record, values)) for key, values in page]
        return found

    async def set_mode(self, mode: str, author: str) -> None:
        """Enforce, or only observe."""
        await self._ledger.call(self._scripts.set_mode, acts.SetMode(mode, author))

    async def policy_version(self, version: int | None) -> StoredPolicy:
        """One stored version of the policy, the one in force by default."""
        answer = await self._ledger.call(self._scripts.read_policy, acts.ReadPolicy(version))
        return decode(StoredPolicy, unpack(answer[1]))

    async def put_key(self, order: acts.PutKey) -> int:
        """Make or revoke a key; answers how many are in force."""
        return int((await self._ledger.call(self._scripts.put_key, order))[1])

    async def read_keys(self, key_id: str | None = None) -> tuple[int, list[Key]]:
        """How many keys are in force; and one of them, or all."""
        count, pairs = await self.owned_keys(key_id)
        return count, [key for key, _ in pairs]

    async def owned_keys(self, key_id: str | None = None) -> tuple[int, list[tuple[Key, Person | None]]]:
        """The same, each with the person whose key it is."""
        try:
            answer = await self._ledger.call(self._scripts.read_keys, acts.ReadKeys(key_id))
        except NotFoundError:  # a tenant that is not there yet
            return 0, []
        count, rows, people = unpack(answer[1])
        whose = [decode(Person, row) if row else None for row in people]
        return count, list(zip((decode(Key, row) for row in rows), whose, strict=True))

    async def put_person(self, order: acts.PutPerson) -> tuple[Person, int | bool]:
        """Add, change or remove a person, or give and take credentials."""
        answer = await self._ledger.call(self._scripts.put_person, order)
        row, nanos = unpack(answer[1])
        return decode(Person, row), nanos

    async def read_people(self, name: str | None) -> tuple[str, list[tuple[Person, int | bool]]]:
        """One person, by name or credential, or all: each with up to how many nano-dollars it may approve. First whose
        the credential is, empty for one that ended."""
        answer = await self._ledger.call(self._scripts.read_people, acts.ReadPeople(name))
        who, rows, ceilings = unpack(answer[1])
        return who or "", [(decode(Person, row), nanos) for row, nanos in zip(rows, ceilings, strict=True)]

    async def note_prices(self, version: str) -> None:
        """Remember the version of the prices in use; a change is an event."""
        await self._ledger.call(self._scripts.note_prices, acts.NotePrices(version))

    async def refund(self, order: acts.Refund) -> tuple[Record, bool]:
        """Take back some of what an ended grant was charged. Answers its record, and whether it was a repeat."""
        answer = await self._ledger.call(self._scripts.refund, order)
        return decode(Record, unpack(answer[1])), bool(answer[2])

    async def reset_budget(self, order: acts.ResetBudget) -> tuple[BudgetRow, int, int]:
        """Begin the present window of a budget anew. Answers it, and what was spent and held (nano-dollars)."""
        answer = await self._ledger.call(self._scripts.reset_budget, order)
        spent, held = unpack(answer[2])
        return BudgetRow._make(unpack(answer[1])), spent, held

    async def accept_loss(self, author: str, *, accepted: bool, whole: bool = False) -> int:
        """How many agents and shared budgets have lost their records; where it is `accepted`, they begin anew."""
        answer = await self._ledger.call(self._scripts.accept_loss, AcceptLoss(accepted, whole, author))
        return int(answer[1]) + int(answer[2])

    async def note_forecasts(self, pace: Iterable[PaceRow]) -> None:
        """Make an event of each budget for a day that is used up before its end, once a day and limit."""
        flat = [value for row in pace for value in row]
        await self._ledger.call(self._scripts.note_forecasts, acts.NoteForecasts(flat))

    async def note_estimates(self, found: Iterable[EstimatesRow]) -> None:
        """Make an event of each agent of whose charges much is estimated, once a day."""
        flat = [value for row in found for value in row]
        await self._ledger.call(self._scripts.note_estimates, acts.NoteEstimates(flat))

    async def outcomes_version(self) -> str:
        """How often the table of outcomes has changed; 0 before the first."""
        value = await self.store.command("HGET", layout.key(self.tenant, "o"), VERSION_ROW)
        return value.decode() if value else "0"

    async def read_outcomes(self) -> dict[str, str]:
        """The table of outcomes as it lies there: rows by key, ``#`` for the version, which grows with each."""
        flat: Any = await self.store.command("HGETALL", layout.key(self.tenant, "o"))
        pairs: Any = flat.items() if hasattr(flat, "items") else zip(flat[::2], flat[1::2], strict=True)
        return {name.decode(): value.decode() for name, value in pairs}

    async def reset_outcomes(self, author: str) -> int:
        """Forget every outcome, and note that; answers how many rows there were. The version goes on."""
        return int((await self._ledger.call(self._scripts.reset_outcomes, acts.ResetOutcomes(author)))[1])

    async def forget(self, agent: str, author: str) -> int:
        """Remove what an agent wrote, and note that: see `forgetting`."""
        return await forgetting.forget(self._ledger, agent, author)
