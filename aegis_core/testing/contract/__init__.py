"""The contract of adapters: the same meaning in every framework. One file a capability.

::

    class TestMyAdapter(AdapterContract):
        harness = MyHarness()

A test that needs what `Harness.lacks` declares is not collected; that the framework lacks it is a test of its own.
"""

from aegis_core.testing.contract.absences import Absences
from aegis_core.testing.contract.approvals import Approvals
from aegis_core.testing.contract.copies import Copies
from aegis_core.testing.contract.downtime import Downtime
from aegis_core.testing.contract.fallbacks import Fallbacks
from aegis_core.testing.contract.forks import Forks
from aegis_core.testing.contract.locks import Locks
from aegis_core.testing.contract.parity import Parity
from aegis_core.testing.contract.refusals import Refusals
from aegis_core.testing.contract.routing import RoutingContract
from aegis_core.testing.contract.settlements import Settlements
from aegis_core.testing.contract.starvation import Starvation
from aegis_core.testing.contract.structured import StructuredOutput
from aegis_core.testing.contract.tools import Tools


class AdapterContract(
    Refusals,
    Fallbacks,
    Settlements,
    Tools,
    RoutingContract,
    StructuredOutput,
    Copies,
    Downtime,
    Parity,
    Approvals,
    Locks,
    Starvation,
    Forks,
    Absences,
):
    """All capabilities. Subclass it as ``Test…`` and set `harness`."""


__all__ = ["AdapterContract"]
