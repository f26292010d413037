"""Proposals for people: listed, decided on, and taken back."""

from __future__ import annotations

from aegis_core.governor.optimizer import Optimizer, Step
from aegis_core.governor.proposal_words import told_of
from aegis_core.protocol.errors import ConflictError, NotFoundError, StaleError
from aegis_core.protocol.proposals import PolicyProposal, PolicyProposals, ProposalAct
from aegis_core.store.proposal_records import StoredProposal

_TRIES = 4


class TenantProposals:
    """The proposals of one tenant. What persons may decide is judged where approvals are."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer, self._store = optimizer, optimizer.store

    async def all(self) -> PolicyProposals:
        """Those that are kept, the newest first."""
        return PolicyProposals(tuple(told_of(name, stored) for name, stored in await self._store.all()))

    async def one(self, name: str) -> PolicyProposal:
        """One of them.

        Raises:
            NotFoundError: there is none.
        """
        return told_of(name, await self._stored(name))

    async def act(self, name: str, wish: ProposalAct, *, author: str, credential: str | None = None) -> PolicyProposal:
        """Carry out what a person says.

        Args:
            name: of the proposal.
            wish: what is said.
            author: who says it.
            credential: with which, where `author` is a person's name.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is in no state for that, or another policy is in force. AuthError: somebody else must.
        """
        if wish.act in {"approve", "reject"}:
            await self._decide(name, wish, author, credential)
        else:
            await self._take(name, wish, author)
        return await self.one(name)

    async def _decide(self, name: str, wish: ProposalAct, author: str, credential: str | None) -> None:
        await self._optimizer.advance(name)
        stored = await self._stored(name)
        if stored.state != "asked":
            if wish.act == "approve" and stored.state in {"canary", "kept"}:
                return  # it was approved already
            raise _not_now(name, stored, wish.act)
        word = "approve" if wish.act == "approve" else "reject"
        await self._optimizer.decide(stored.approval, word, author, wish.reason, credential)
        await self._optimizer.advance(name)

    async def _take(self, name: str, wish: ProposalAct, author: str) -> None:
        for _ in range(_TRIES):
            stored = await self._stored(name)
            step = _step_of(name, stored, wish)
            if step is None:
                return
            await self._optimizer.withdraw(stored)
            if await self._optimizer.put(
                name, stored, step._replace(changes={**step.changes, "by": author}), author=author
            ):
                return
        raise StaleError("The proposal changes faster than it can be read; nothing was changed.", reason="stale")

    async def _stored(self, name: str) -> StoredProposal:
        if (found := await self._store.one(name)) is None:
            raise NotFoundError(f"There is no proposal {name}.", kind="proposal", name=name)
        return found


def _step_of(name: str, stored: StoredProposal, wish: ProposalAct) -> Step | None:
    """What a person's word makes of a proposal; None: it is so already."""
    why = f"{wish.act}: {wish.reason}" if wish.reason else wish.act
    if wish.act == "rollback":
        if stored.state == "rolled_back":
            return None
        if stored.state not in {"canary", "kept"}:
            raise _not_now(name, stored, wish.act)
        changes = {"state": "rolled_back", "ended": True, "why": f"taken back by a person ({why})"}
        return Step(changes, "rolled_back", "stop" if stored.state == "canary" else "revert")
    if stored.state not in {"proposed", "tested", "observed", "asked", "later"}:
        if stored.state == "declined" and stored.why.startswith(wish.act):
            return None
        raise _not_now(name, stored, wish.act)
    stops = "stop" if stored.state == "observed" else None
    if wish.act == "later":
        return Step({"state": "later", "approval": "", "why": why}, "declined", stops)
    return Step({"state": "declined", "ended": True, "why": why}, "declined", stops)


def _not_now(name: str, stored: StoredProposal, act: str) -> ConflictError:
    because = f" ({stored.why})" if stored.why else ""
    return ConflictError(f"The proposal {name} is {stored.state}{because}; it cannot {act}.", code="proposal_state")
