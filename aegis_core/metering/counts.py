"""Counts that a framework hands on in place of the provider's answer, as a reading with the same doubts."""

from __future__ import annotations

from collections.abc import Mapping

from aegis_core.metering.apis.openai_chat import STANDARD_TIERS, attribute_rest
from aegis_core.metering.reading import NO_USAGE, Reading, ReceivedText, Tally, build, word_of
from aegis_core.protocol.usage import CACHE_PARTS

NO_INPUT = "no input tokens were counted, and none is not what was sent"


def read_counts(
    model: str | None,
    counts: Mapping[str, object] | None,
    *,
    total: object = None,
    received: ReceivedText | None = None,
    tier: object = None,
    finished: bool = True,
) -> Reading:
    """Read counts by the fields of `Usage`. Nothing here raises on what a framework sent.

    Args:
        model: the model that was asked for.
        counts: whole numbers by field; None, or none of input and output: the answer carries no usage.
        total: the provider's own total, of which what its parts do not explain is kept.
        received: the text of the answer, which takes some tokens; of an answer without counts it bounds the output.
        tier: the tier that served the call, in the provider's word.
        finished: the answer came to its end.
    """
    text = received or ReceivedText()
    given = counts or {}
    if given.get("input_tokens") is None and given.get("output_tokens") is None:
        return Reading(None, (NO_USAGE,), text.most, complete=finished)
    tally = Tally()
    # Most are absent or nought.
    found = {name: 0 if type(said) is int and not said else tally.count(given, name) for name, said in given.items()}
    found = {"input_tokens": 0, "output_tokens": 0, **found}
    if not found["input_tokens"]:
        tally.doubt(NO_INPUT)
    parts = sum(found.get(name, 0) for name in CACHE_PARTS)
    if found["input_tokens"] and parts > found["input_tokens"]:
        tally.doubt(f"{parts:,} tokens of the cache are more than the {found['input_tokens']:,} that were sent")
        found = {name: value for name, value in found.items() if name not in CACHE_PARTS}
    attribute_rest(tally, found, tally.count({"total": total}, "total"))
    word = word_of(tier)
    return build(tally, text, model, service_tier=None if word in STANDARD_TIERS else word, **found)
