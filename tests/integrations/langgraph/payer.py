"""A graph that pays, as the processes of `test_kill` run it.

``python payer.py start|resume-and-die|resume THREAD FOLDER [DIE_AT|STALLED_SECONDS]``

Its model asks for one payment of $7, which needs a person, and then says what it was told. A payment leaves a line in a
file. The server and tenant are those of ``AEGIS_URL`` and ``AEGIS_TENANT``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aegis_langgraph.interrupt_node
from aegis_langgraph import ApprovalResumer, GovernedToolNode, approval_node
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from aegis_core import connect_sync
from aegis_core.client.sync import SyncGovernor

COSTS = {"pay": 7}


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingSaver(SqliteSaver):
    """Dies between what a step wrote and the checkpoint that would say so.

    LangGraph stores both from threads of its own, so the first is waited for.
    """

    _step_written = threading.Event()

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        super().put_writes(config, writes, task_id, task_path)
        if any(channel != "__resume__" for channel, _ in writes):
            self._step_written.set()

    def put(self, *_: Any, **__: Any) -> Any:
        self._step_written.wait()
        die()


def build(governor: SyncGovernor, folder: Path, die_at: str = "") -> Any:
    aegis = governor.handshake("payer")

    def pay(amount: int) -> str:
        """Pay."""
        if die_at == "before the payment":
            die()
        with (folder / "payments").open("a") as payments:
            payments.write(f"{amount}\n")
        if die_at == "after the payment":
            die()
        return f"paid {amount}"

    def agent(state: MessagesState) -> Any:
        last = state["messages"][-1]
        if isinstance(last, HumanMessage):
            return {"messages": [AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": 7}, "id": "call-1"}])]}
        return {"messages": [AIMessage(f"I was told: {last.text}")]}

    if die_at == "ticket":
        aegis_langgraph.interrupt_node.interrupt = lambda question: (
            die()
        )  # its question is asked, and no checkpoint says so
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("approve", approval_node(aegis, costs=COSTS))
    graph.add_node("tools", GovernedToolNode([pay], aegis, costs=COSTS))
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "approve")
    graph.add_edge("tools", "agent")
    connection = sqlite3.connect(folder / "threads.sqlite", check_same_thread=False, timeout=20)
    return graph.compile(checkpointer=DyingSaver(connection) if die_at == "checkpoint" else SqliteSaver(connection))


def main(act: str, thread: str, folder: Path, die_at: str = "") -> None:
    with connect_sync() as governor:
        graph = build(governor, folder, "" if act == "resume" else die_at)
        config = {"configurable": {"thread_id": thread}}
        if act == "start":
            graph.invoke({"messages": [HumanMessage("Pay 7.")]}, config, durability="sync")
            die()
        until = time.monotonic() + 150
        stalled = float(die_at) if act == "resume" else 60
        resumer = ApprovalResumer(graph, governor, name="payers", stalled_seconds=stalled)
        (folder / f"ready-{os.getpid()}").touch()

        def ends() -> bool:
            return (folder / "end").exists() or not graph.get_state(config).tasks or time.monotonic() > until

        resumer.run(until=ends, interval=0.1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
