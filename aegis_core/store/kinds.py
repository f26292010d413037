"""What a kind of record is. `schema` lists those that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aegis_core.store.packing import Named


@dataclass(frozen=True)
class Kind:
    """One kind of record, as scripts know it.

    Attributes:
        prefix: before the names of its fields, as in ``R_STATE``.
        fields: its class.
        rows: its rows lie one after the other in one list.
        one: which of its fields holds a record of another kind, by its prefix.
        many: which of its fields holds a list of those.
    """

    prefix: str
    fields: type[Named]
    rows: bool = False
    one: Mapping[str, str] = field(default_factory=dict[str, str])
    many: Mapping[str, str] = field(default_factory=dict[str, str])
