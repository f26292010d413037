"""What is kept on an agent of classic AutoGen: whom to ask for it."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_core.adapting import CallGovernor

_NAME = "_aegis_registration"


@dataclass(frozen=True, eq=False)
class Registration:
    """The governor of an agent's calls, and the models among which it may choose. Copies of the agent share it."""

    calls: CallGovernor
    models: tuple[str, ...] = ()

    def put_on(self, holder: object) -> None:
        """Make an agent, or a client, ask here."""
        setattr(holder, _NAME, self)

    @staticmethod
    def take_off(holder: object) -> None:
        """Undo `put_on`."""
        vars(holder).pop(_NAME, None)

    def __deepcopy__(self, memo: object) -> Registration:
        return self


def registration_of(holder: object) -> Registration | None:
    """The registration of an agent or client, if it is governed."""
    found: object = getattr(holder, _NAME, None)
    return found if isinstance(found, Registration) else None
