"""Events with what their agents wrote, which lies apart from them (see `store.words`)."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_core.governor.events import decode_event, words_place
from aegis_core.protocol.events import Event
from aegis_core.store.ledger import Ledger
from aegis_core.store.streams import Entry
from aegis_core.store.words import opened

_AT_ONCE = 200


async def told_events(ledger: Ledger, entries: Sequence[Entry]) -> tuple[Event, ...]:
    """Entries of the stream as events. One whose words are kept no longer says ``words_gone``."""
    places = [words_place(*entry) for entry in entries]
    wanted = list(dict.fromkeys(place for place in places if place is not None))
    kept: dict[tuple[str, str], list[bytes] | None] = {}
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at : at + _AT_ONCE]
        kept |= zip(some, await ledger.words(some), strict=True)
    found: list[Event] = []
    for entry, place in zip(entries, places, strict=True):
        words = None if place is None else opened(kept[place], entry[1].get(b"d"))
        event = decode_event(*entry, ledger.tenant, words)
        if place is not None and words is None:
            event.facts["words_gone"] = True
        found.append(event)
    return tuple(found)
