"""Clients of HTTP that are made in milliseconds."""

from __future__ import annotations

import tempfile

import certifi

END = "-----END CERTIFICATE-----"
_kept: list[tempfile._TemporaryFileWrapper[str]] = []


def few_authorities() -> None:
    """Let the clients of this process trust one authority instead of all.

    To read those that the world trusts takes 20 to 60 ms for each client, of which tests make thousands, and no test
    speaks with the world. Processes that tests start have the usual ones.
    """
    file = tempfile.NamedTemporaryFile("w", prefix="aegis-authority-", suffix=".pem")  # noqa: SIM115 -- it lives as long as the process
    file.write(certifi.contents().partition(END)[0] + END + "\n")
    file.flush()
    _kept.append(file)
    certifi.where = lambda: file.name
