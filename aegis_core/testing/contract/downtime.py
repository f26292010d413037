"""The governor is down: nothing is decided, so nothing is done."""

from __future__ import annotations

import time

from aegis_core.connect import connect_sync
from aegis_core.store.embedded import EmbeddedHandle, join_sync
from aegis_core.testing.clocks import private_settings
from aegis_core.testing.contract.base import PATIENCE, Base
from aegis_core.testing.contract.demands import in_each
from aegis_core.testing.scripts import Drive, Mode, ModelScript, ToolUse, Turn


class Downtime(Base):
    """Fail closed, in each framework's own words."""

    @in_each("sync", "async", "stream", "astream")
    def test_no_call_is_made_while_the_governor_is_down(self, mode: Mode) -> None:
        """Neither of the model nor, where it comes so far, of a tool."""
        handle = join_sync(None, throwaway=True)
        settings = private_settings(url=handle.url)
        with connect_sync(settings=settings) as governor:
            aegis = governor.handshake("contract")
            shut_down(handle)
            script = ModelScript(Turn(tools=(ToolUse("pay", {}, "a"),)), Turn("Paid."), tools={"pay": lambda: "paid"})
            outcome = self.run(aegis, script, Drive(mode))
        assert script.calls == []
        assert script.uses == []
        assert outcome.error is not None
        assert "cannot be reached" in str(outcome.error)


def shut_down(handle: EmbeddedHandle) -> None:
    """Leave a throw-away server, and wait until it has ended: to leave waits two seconds, and no longer."""
    handle.leave_sync()
    until = time.monotonic() + PATIENCE
    while handle.directory.exists():
        assert time.monotonic() < until, f"the server in {handle.directory} does not stop"
        time.sleep(0.01)
