"""What may differ between a request that a client sends and the one that its provider gets."""

from __future__ import annotations

from typing import Any

SPLICED: dict[str, set[str]] = {
    "openai_chat": {"max_completion_tokens", "stream_options"},
    "openai_responses": {"max_output_tokens"},
    "anthropic": {"max_tokens"},
    "gemini": {"generationConfig.maxOutputTokens"},
}
"""Members of a body that may be others than without the proxy."""


def changed(before: Any, after: Any, path: str = "") -> set[str]:
    """The members that differ, as far in as both are objects."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = {*before, *after}
        return {each for name in names for each in changed(before.get(name), after.get(name), f"{path}.{name}")}
    if path == ".generationConfig" and before is None:
        return changed({}, after, path)
    return set() if before == after else {path.lstrip(".")}
