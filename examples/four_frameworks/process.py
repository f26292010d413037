"""One agent in a process of its own: ``python process.py langchain``. The show starts it, and reads its report."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from payer import COINS, Payer
from wallet import Wallet

import aegis_core
from aegis_core import ConfigurationError
from aegis_core.protocol.messages import Framework


def main(framework: str) -> None:
    """Load the framework, shake hands, run its agent to the end, and say what was done."""
    report, sys.stdout = sys.stdout, sys.stderr  # frameworks print; the report is for the show alone

    def tell(**facts: Any) -> None:
        report.write(json.dumps(facts) + "\n")
        report.flush()

    def wait(what_for: str) -> None:
        tell(waits=what_for)
        sys.stdin.readline()

    try:
        build = import_module(f"{framework}_payer").build
    except ConfigurationError as error:
        if error.code != "missing_extra":
            raise
        tell(absent=error.message)
        return
    with aegis_core.connect_sync() as governor:
        aegis = governor.handshake(f"{framework}-payer", framework=cast("Framework", framework))
        payer = Payer(aegis, Wallet(Path(os.environ["WALLET_FILE"]), COINS), tell, wait)
        words = build(payer)()
    tell(
        words=words, model_calls=payer.model_calls, tool_calls=len(payer.fences), nanos=payer.nanos,
        refused=payer.refused, fences=payer.fences,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
