"""A server of MCP on its standard input and output: it knows rates and moves money, and writes down what it did.

Usage: python mcp_desk.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from mcp.server.fastmcp import FastMCP

server = FastMCP("desk", log_level="ERROR")
ledger = Path(sys.argv[1])


def note(line: str) -> str:
    """Write down what was done."""
    with ledger.open("a") as file:
        file.write(line + "\n")
    return line


@server.tool()
def rate(currency: str) -> str:
    """What a euro is in another currency."""
    return note(f"1 EUR = {({'CHF': '0.94', 'USD': '1.16'})[currency]} {currency}")


@server.tool()
def send(to: str, euros: int) -> str:
    """Send money to somebody."""
    return note(f"sent {euros} to {to}")


if __name__ == "__main__":
    server.run("stdio")
