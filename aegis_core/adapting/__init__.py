"""What the adapters of all frameworks share: estimate, identity, denial, and one governed call from any thread.

An adapter makes one `CallGovernor` from its parameter ``aegis=``, describes each call of a model or tool to it, and
settles or releases the `Reservation` that it gets::

    calls = CallGovernor(aegis, framework="langchain", costs={"search": "0.01"})
    held = calls.begin(ModelCall(messages, tools, model="gpt-4o-mini", max_output_tokens=500))  # or AegisDenied
    held.settle(input_tokens=812, output_tokens=95)
"""

from aegis_core.adapting.attempts import Attempts
from aegis_core.adapting.bridge import Bridge
from aegis_core.adapting.call_governor import CallGovernor
from aegis_core.adapting.calls import ModelCall, ToolCall, answers_in, conversation_digest
from aegis_core.adapting.clearance import Clearance
from aegis_core.adapting.estimate import InputBounds
from aegis_core.adapting.frameworks import missing_extra, warn_outside
from aegis_core.adapting.locking import Locks, ToolLock, current_fence
from aegis_core.adapting.reservation import Reservation
from aegis_core.adapting.tool_names import tool_list
from aegis_core.adapting.tool_review import ToolBatch, ToolReview
from aegis_core.adapting.tool_run import ToolRun
from aegis_core.adapting.wishes import CallWishes
from aegis_core.metering.counts import read_counts
from aegis_core.metering.extract import extract
from aegis_core.metering.prompt import messages_bound
from aegis_core.metering.reading import Reading, ReceivedText
from aegis_core.protocol.arguments import hash_arguments, single_keys
from aegis_core.protocol.canonical import canonical_json

__all__ = [
    "Attempts",
    "Bridge",
    "CallGovernor",
    "CallWishes",
    "Clearance",
    "InputBounds",
    "Locks",
    "ModelCall",
    "Reading",
    "ReceivedText",
    "Reservation",
    "ToolBatch",
    "ToolCall",
    "ToolLock",
    "ToolReview",
    "ToolRun",
    "answers_in",
    "canonical_json",
    "conversation_digest",
    "current_fence",
    "extract",
    "hash_arguments",
    "messages_bound",
    "missing_extra",
    "read_counts",
    "single_keys",
    "tool_list",
    "warn_outside",
]
