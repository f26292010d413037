"""Four frameworks, one budget, one wallet: each runs a real agent in a process of its own, until the money is gone.

    python examples/four_frameworks/show.py [langchain,langgraph,crewai,autogen] [--json]

The models are scripted and nothing leaves this machine. All else is real: the frameworks' agents, the adapters, the
governor on an embedded server, the lock of the wallet. What is shown at the end is what the models and tools counted
themselves, held against the ledger of Aegis; where the two differ, this ends with an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from checks import Audit, audit
from page import Page
from payer import COINS
from wallet import Wallet

import aegis_core
from aegis_core.protocol.messages import Framework
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings, quiet_zone

FRAMEWORKS = ("langchain", "langgraph", "crewai", "autogen")
TEAM, LIMIT = "team=payments", "1.00"
PATIENCE = 300.0
"""Seconds after which it is given up."""
HERE = Path(__file__).parent


class ShowError(Exception):
    """Why the show did not reach its end."""


@dataclass
class Act:
    """One framework's process, and what it reported."""

    framework: str
    process: asyncio.subprocess.Process
    log: Path
    report: dict[str, Any] = field(default_factory=dict[str, Any])

    async def go_on(self, page: Page) -> None:
        """Let its agent go on, and show what it does until it waits for the others, or has ended."""
        assert self.process.stdin is not None
        if "waits" in self.report:
            self.process.stdin.write(b"go on\n")
        while not self.ended:
            self.report = await self._next()
            page.happened(self.framework, self.report)
            if "waits" in self.report:
                return

    @property
    def ended(self) -> bool:
        """Whether its agent has said its last word, or cannot say any."""
        return "words" in self.report or "absent" in self.report

    async def leave(self) -> None:
        """Wait until its process is gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()

    async def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if line := await self.process.stdout.readline():
            return json.loads(line)
        await self.process.wait()
        said = [line for line in self.log.read_text().splitlines() if line.strip()]
        raise ShowError(f"The agent of {self.framework} failed:\n" + "\n".join(said[-15:]))


async def start(framework: str, room: Path) -> Act:
    """Start one framework's process."""
    log = room / f"{framework}.log"
    command = [sys.executable, str(HERE / "process.py"), framework]
    pipe = asyncio.subprocess.PIPE
    with log.open("w") as file:
        process = await asyncio.create_subprocess_exec(*command, cwd=room, stdin=pipe, stdout=pipe, stderr=file)
    return Act(framework, process, log)


async def play(frameworks: list[str], room: Path, page: Page) -> Audit:
    """The whole show."""
    wallet = Wallet(Path(os.environ["WALLET_FILE"]), COINS)
    async with aegis_core.connect(settings=private_settings()) as governor:
        await governor.set_budget("label", TEAM, "total", LIMIT)
        for framework in frameworks:
            agent = await governor.handshake(f"{framework}-payer", framework=cast("Framework", framework))
            await governor.label_agent(agent.agent_id, {"team": "payments"})
        acts = [await start(framework, room) for framework in frameworks]
        page.opening(frameworks, LIMIT)
        try:
            while not all(act.ended for act in acts):
                await asyncio.gather(*(act.go_on(page) for act in acts))
            await asyncio.gather(*(act.leave() for act in acts))
        finally:
            for act in acts:
                if act.process.returncode is None:
                    act.process.kill()
                    await act.process.wait()
        present = {act.framework: act.report for act in acts if "absent" not in act.report}
        if not present:
            raise ShowError("None of these frameworks is installed.")
        return await audit(governor, TEAM, wallet, present)


def main(arguments: list[str]) -> int:
    """The command."""
    names = [name for each in arguments if not each.startswith("-") for name in each.split(",") if name]
    if unknown := sorted(set(names) - set(FRAMEWORKS)):
        print(f"{', '.join(unknown)}: not one of {', '.join(FRAMEWORKS)}", file=sys.stderr)
        return 2
    page = Page(as_json="--json" in arguments)
    for name in [name for name in os.environ if name.startswith(("AEGIS_", "USE_FAKE_REDIS", "OPENAI_", "REDIS_"))]:
        del os.environ[name]  # the show depends on nothing of yours
    server = join_sync(None, throwaway=True)
    with tempfile.TemporaryDirectory(prefix="aegis-show-") as folder:
        room = Path(folder)
        os.environ |= {
            "AEGIS_URL": server.url, "AEGIS_TIMEZONE": quiet_zone(), "TMPDIR": folder,
            "WALLET_FILE": str(room / "wallet.jsonl"),
            "CREWAI_STORAGE_DIR": str(room / "crewai"), "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true",
        }  # fmt: skip
        try:
            found = asyncio.run(asyncio.wait_for(play(list(dict.fromkeys(names or FRAMEWORKS)), room, page), PATIENCE))
        except TimeoutError:
            print(f"The show did not end within {PATIENCE:.0f} s.", file=sys.stderr)
            return 1
        except ShowError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            server.leave_sync()
    page.closing(found)
    return 0 if found.sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
