"""What LangChain logs of the callback's refusals: nothing, because each is an answer that reaches its caller anyway."""

from __future__ import annotations

import logging
import sys
from weakref import WeakSet

from aegis_core.protocol.denial import AegisDenied

_refusals: WeakSet[BaseException] = WeakSet()
"""What the callback raised, and whoever made the call now catches."""


def leave_out(error: BaseException) -> None:
    """Keep an error that the callback is about to raise out of LangChain's log, if it is a refusal."""
    if isinstance(error, AegisDenied):
        _refusals.add(error)


class _NoRefusals(logging.Filter):
    """Lets everything pass but LangChain's own line about such an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """LangChain logs an error by its name, while it handles it: ``Error in %s.%s callback: %s``."""
        handled = sys.exc_info()[1]
        if handled is None or handled not in _refusals or not isinstance(record.args, tuple):
            return True
        return len(record.args) != 3 or record.args[2] != repr(handled)


logging.getLogger("langchain_core.callbacks.manager").addFilter(_NoRefusals())
