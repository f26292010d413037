"""Real servers for `failover.py`: a Cluster of three primaries and three replicas, and one primary under Sentinels."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

_SLOTS = 16_384


class Node:
    """One server process, ended by its own handle."""

    def __init__(self, binary: Path, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True)
        self.port = _free_port()
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", "log.txt"]
        command = [str(binary), *options, *place, "--save", ""]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.client: Any = redis.Redis(port=self.port, protocol=2, socket_timeout=2)
        until(self.client.ping)

    def send(self, number: signal.Signals) -> None:
        """Stop it, or let it go on."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, stopped or not."""
        self.client.close()
        self.kill()


@dataclass(frozen=True)
class Topology:
    """Servers under one address. `around`: the primary that holds a tenant, and its replicas."""

    url: str
    around: Callable[[str], tuple[Node, list[Node]]]


def _free_port() -> int:
    """A free port whose cluster bus (10,000 above) is free too, both below those that connections are given."""
    while True:
        port = random.randrange(11_000, 22_000)
        with suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            return port


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until that is so.

    Raises:
        TimeoutError: it is not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(redis.RedisError, KeyError):
            if condition():
                return
        time.sleep(0.05)
    raise TimeoutError("the servers do not come to be as they must")


@contextmanager
def cluster(binary: Path, folder: Path, least: int) -> Generator[Topology]:
    """Three primaries with a replica each; `least` replicas must hear of each write."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--min-replicas-max-lag", "2")
    with ExitStack() as stack:
        nodes = [Node(binary, folder / str(number), *options) for number in range(6)]
        for node in nodes:
            stack.callback(node.close)
        primaries, replicas = nodes[:3], nodes[3:]
        bounds = [round(_SLOTS * part / 3) for part in range(4)]
        for number, node in enumerate(primaries):
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.client.execute_command("CONFIG SET", "cluster-allow-replica-migration", "no")
        for node in nodes[1:]:
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            until(lambda node=node: node.client.execute_command("CLUSTER INFO")["cluster_known_nodes"] == "6")
        for primary, replica in zip(primaries, replicas, strict=True):
            name = primary.client.execute_command("CLUSTER MYID")
            until(lambda name=name, replica=replica: replica.client.execute_command("CLUSTER REPLICATE", name))
        for node in replicas:
            until(lambda node=node: node.client.info("replication")["master_link_status"] == "up")
        for node in nodes:
            until(lambda node=node: node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
            node.client.config_set("min-replicas-to-write", least)

        def around(tenant: str) -> tuple[Node, list[Node]]:
            slot = key_slot(f"ae:{{{tenant}}}:t".encode())
            at = next(number for number in range(3) if bounds[number] <= slot < bounds[number + 1])
            return primaries[at], [replicas[at]]

        yield Topology(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}", around)


@contextmanager
def sentinel(binary: Path, folder: Path, least: int) -> Generator[Topology]:
    """One primary, one replica, and three Sentinels of which two must agree."""
    with ExitStack() as stack:
        primary = Node(binary, folder / "primary", "--min-replicas-max-lag", "2")
        stack.callback(primary.close)
        replica = Node(binary, folder / "replica", "--replicaof", "127.0.0.1", str(primary.port))
        stack.callback(replica.close)
        until(lambda: replica.client.info("replication")["master_link_status"] == "up")
        primary.client.config_set("min-replicas-to-write", least)
        guards: list[Node] = []
        for number in range(3):
            config = folder / f"sentinel{number}.conf"
            config.write_text(
                f"sentinel monitor house 127.0.0.1 {primary.port} 2\nsentinel down-after-milliseconds house 1000\n"
                "sentinel failover-timeout house 10000\n"
            )
            guard = Node(binary, folder / f"sentinel{number}", str(config), "--sentinel")
            stack.callback(guard.close)
            guards.append(guard)
        for guard in guards:
            until(lambda guard=guard: len(guard.client.execute_command("SENTINEL SENTINELS", "house")) == 2)
            until(lambda guard=guard: guard.client.execute_command("SENTINEL REPLICAS", "house"))
        hosts = ",".join(f"127.0.0.1:{guard.port}" for guard in guards)
        yield Topology(f"redis+sentinel://{hosts}/house", lambda _: (primary, [replica]))
