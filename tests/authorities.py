"""Clients of HTTP that are made in milliseconds."""

from __future__ import annotations

from pathlib import Path

import certifi

END = "-----END CERTIFICATE-----"


def few_authorities(folder: Path) -> None:
    """Let the clients of this process trust one authority instead of all.

    To read those that the world trusts takes 20 to 60 ms for each client, of which tests make thousands, and no test
    speaks with the world. Processes that tests start have the usual ones.

    Args:
        folder: where the one is kept; it has to stay as long as the process.
    """
    file = folder / "authority.pem"
    file.write_text(certifi.contents().partition(END)[0] + END + "\n")
    certifi.where = lambda: str(file)
