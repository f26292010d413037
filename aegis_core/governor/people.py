"""Persons: made by owners, known by one name whatever the credential that they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aegis_core.governor.budgets import at_ms
from aegis_core.protocol.errors import InvalidRequestError, NotFoundError
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.people import RANKS, Person, PersonChange, PersonRole, PersonWish, credential, fold
from aegis_core.store.operator_verbs import PutPerson
from aegis_core.store.operators import OperatorStore

if TYPE_CHECKING:
    from aegis_core.store.people import Person as Row


class People:
    """The persons of one tenant. Its holder is trusted: over HTTP, an owner's credential stands before it."""

    def __init__(self, registry: OperatorStore) -> None:
        self._registry = registry

    async def list(self, *, removed: bool = False) -> tuple[Person, ...]:
        """Who belongs to the tenant, by name. `removed`: and who did."""
        _, rows = await self._registry.read_people(None)
        found = (person_of(*row) for row in rows)
        return tuple(sorted((each for each in found if removed or not each.removed_at), key=lambda each: each.name))

    async def get(self, name: str) -> Person:
        """One person, by name or by a credential such as ``telegram:123``.

        Raises:
            NotFoundError: there is no such person.
        """
        found = await self.find(name)
        if found is None:
            raise NotFoundError(
                f"There is no person {name}; `aegis people list` shows who there is.", kind="person", name=name
            )
        return found

    async def behind(self, credential: str) -> tuple[str, Person | None]:
        """Who stands behind a credential: the person's name (empty where it ended, itself where it is nobody's)."""
        who, rows = await self._registry.read_people(credential)
        return who, person_of(*rows[0]) if rows else None

    async def find(self, name: str) -> Person | None:
        """The same, or None. One who was removed is found, too."""
        _, rows = await self._registry.read_people(name)
        return person_of(*rows[0]) if rows else None

    async def add(
        self, name: str, role: PersonRole = "viewer", *, author: str, groups: Iterable[str] = (),
        telegram: int | None = None, terminal: str | None = None, approve_up_to_usd: object | None = None,
    ) -> Person:  # fmt: skip
        """Add a person; who was removed before comes back without the credentials of then.

        Args:
            name: unique in the tenant, in letters of one script, and not to be taken for another one's.
            role: ``viewer`` reads, ``approver`` decides, too, ``operator`` governs agents, ``owner`` persons.
            author: who adds.
            groups: which a rule may ask for (``approver_role``), such as ``finance``.
            telegram: the user id there.
            terminal: the user of a machine whose terminal has access to Redis.
            approve_up_to_usd: the most that the person may approve; None for any amount.

        Raises:
            InvalidRequestError: a name or amount that cannot be.
            ConflictError: there is such a person, or one who looks alike; or a credential is another's.
        """
        wish = parse(
            PersonWish, name=name, role=role, groups=tuple(groups), telegram=telegram, terminal=terminal,
            approve_up_to_usd=approve_up_to_usd,
        )  # fmt: skip
        return await self.put(wish, author=author)

    async def put(self, wish: PersonWish, *, author: str) -> Person:
        """`add` of a whole message."""
        nanos = None if wish.approve_up_to_usd is None else to_nanos(wish.approve_up_to_usd)
        order = PutPerson(
            wish.name, fold(wish.name), "added", wish.role, list(wish.groups), nanos, list(wish.credentials), author
        )
        return await self._put(order)

    async def change(self, name: str, change: PersonChange, *, author: str) -> Person:
        """Change role, groups or limit, in force for what is open, too.

        Raises:
            NotFoundError: no such person. ConflictError: the last owner would be none.
            AuthError: it is of the author's own.
        """
        given = change.model_fields_set
        role = change.role if "role" in given and change.role else False
        groups = list(change.groups) if "groups" in given and change.groups is not None else False
        nanos: int | bool | None = None
        if "approve_up_to_usd" in given:
            nanos = False if change.approve_up_to_usd is None else to_nanos(change.approve_up_to_usd)
        return await self._put(PutPerson(name, fold(name), "changed", role, groups, nanos, [], author))

    async def remove(self, name: str, *, author: str) -> Person:
        """Remove a person with all credentials, at once. What the person approved and is open counts no more.

        Raises:
            NotFoundError: no such person. ConflictError: it is the last owner.
        """
        return await self._put(PutPerson(name, fold(name), "removed", False, False, None, [], author))

    async def link(self, name: str, given: str, *, author: str) -> Person:
        """Give a person a credential: ``telegram:ID`` or ``cli:USER``. Keys are made by `Operator.create_person_key`.

        Raises:
            ConflictError: it is another person's.
        """
        return await self._put(PutPerson(name, fold(name), "linked", False, False, None, [_checked(given)], author))

    async def unlink(self, name: str, given: str, *, author: str) -> Person:
        """End a credential of a person, at once; of a key, the key.

        Raises:
            NotFoundError: the person has none such.
        """
        return await self._put(PutPerson(name, fold(name), "revoked", False, False, None, [_checked(given)], author))

    async def _put(self, order: PutPerson) -> Person:
        row, nanos = await self._registry.put_person(order)
        return person_of(row, nanos)


def may(role: str, needed: PersonRole) -> bool:
    """Whether a role may do what another one may."""
    return RANKS.get(role, 0) >= RANKS[needed]


def person_of(row: Row, nanos: int | bool) -> Person:
    """A stored person, with up to how much it may approve (False: anything)."""
    role: PersonRole = row.role  # pyright: ignore[reportAssignmentType]
    return Person(
        row.name, role, tuple(row.groups), tuple(row.credentials), None if nanos is False else to_usd(nanos),
        row.author, at_ms(row.made), at_ms(row.removed) if row.removed else None,
    )  # fmt: skip


def _checked(given: str) -> str:
    try:
        return credential(given)
    except ValueError as error:
        raise InvalidRequestError(f"credential: {error}", field="credential", problem=str(error)) from None
