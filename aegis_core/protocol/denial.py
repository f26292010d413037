"""The refusal that `permit` raises, and how to find it again in what a framework made of it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from aegis_core.protocol.errors import AegisError, rebuild
from aegis_core.protocol.messages import Verdict

_AS_TEXT = re.compile(r"(?P<message>Aegis refused.*?) \[(?P<code>[a-z_]+)\]", re.DOTALL)

RUN_ENDS = "so the run ends."
"""The last words of a final denial."""


class AegisDenied(AegisError, ValueError):  # noqa: N818 - the name is part of the public protocol
    """A permit was refused. ``verdict`` holds the whole answer; ``code`` is the verdict's code."""

    code = "denied"

    def __init__(self, message: str, *, verdict: Verdict, **facts: Any) -> None:
        super().__init__(message, **{"code": verdict.code, **facts})
        self.verdict = verdict

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"  # some frameworks keep nothing of an error but its text

    @property
    def final(self) -> bool:
        """True when the same call was refused so often that the run must end."""
        return bool(self.facts.get("final"))

    @classmethod
    def from_exception(cls, error: BaseException) -> AegisDenied | None:
        """The denial behind what a framework raised: itself, a cause or context, a member of a group, or its text."""
        texts: list[str] = []
        seen: set[int] = set()
        waiting: list[object] = [error]
        while waiting:
            found = waiting.pop(0)
            if isinstance(found, cls):
                return found
            if isinstance(found, str):
                texts.append(found)
            if not isinstance(found, BaseException) or id(found) in seen:
                continue
            seen.add(id(found))
            inner = found.exceptions if isinstance(found, BaseExceptionGroup) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            waiting += [found.__cause__, found.__context__, *inner, *found.args]  # pyright: ignore[reportUnknownArgumentType]
        return next((denied for text in texts if (denied := cls._from_text(text))), None)

    @classmethod
    def _from_text(cls, text: str) -> AegisDenied | None:
        match = _AS_TEXT.search(text)
        if match is None:
            return None
        verdict = Verdict("REJECTED", "", match["message"], match["code"], Decimal(0), "", 0)
        return cls(match["message"], verdict=verdict, final=match["message"].endswith(RUN_ENDS))

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (type(self), self.message, {"verdict": self.verdict, "code": self.code, **self.facts}))
