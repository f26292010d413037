"""AutoGen and what it loads warn of their own past while they are imported; that is theirs."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import autogen  # noqa: F401
