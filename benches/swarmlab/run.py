"""One run: a scenario, by one origin, with one kind of client, from an empty network to what came of it."""

import asyncio
import itertools
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .clients import COMMANDS, MIXED, Client
from .network import Network, received_and_sent
from .scenarios import KILLED

# A swarm that hasn't finished after so many times its limit, and so many seconds, won't.
PATIENCE_FACTOR, PATIENCE_SECONDS = 8, 120
# How often hosts' counters are read: for what happens half way, and for those who look into a run.
LOOK_SECONDS = 0.2


@dataclass
class Outcome:
    """Seconds are from when the first host began; copies are bytes of TCP's payload over the file's size."""

    limit: float
    # When each host had the file, by name; None for one that was left without it.
    complete: dict = field(default_factory=dict)
    killed: list = field(default_factory=list)
    # What happened half way, which is when the median host had received half of the file.
    befell: str = ""
    # Out of the `origin`; `into` each rack, and `out` of each.
    copies: dict = field(default_factory=dict)
    # The share of the time for which clients waited for a processor, on average.
    waited: float = 0
    # Seconds, and the bytes (headers included) that each host had received and sent by then.
    looks: list = field(default_factory=list)

    def times(self):
        return sorted(seconds for seconds in self.complete.values() if seconds is not None)

    def stuck(self):
        return [name for name, seconds in self.complete.items() if seconds is None]


class Run:
    def __init__(self, scenario, kind, origin, material, home, congestion):
        plan = scenario.plan()
        kinds = itertools.cycle(COMMANDS) if kind == MIXED else itertools.repeat(kind)
        self._scenario, self._origin, self._material = scenario, origin, material
        self._clients = [Client(kind, host, material.torrent, home / host.namespace)
                         for kind, host in zip(kinds, plan.all_hosts())]
        self._network = Network(plan, congestion)
        self._outcome = Outcome(scenario.limit())
        self._began = None
        self._over = False
        # A task for each client, which ends with when it had the file.
        self._downloads = {}

    async def outcome(self):
        try:
            await self._origin.start()
            await asyncio.gather(*(client.prepare() for client in self._clients))
            await self._measure()
            return self._outcome
        finally:
            await asyncio.gather(*(client.process.kill() for client in self._clients if client.process))
            await self._origin.end()
            self._network.close()

    async def _measure(self):
        outcome, passed, waits = self._outcome, self._network.payload(), self._waits()
        self._began = time.monotonic()
        self._downloads = {client: asyncio.create_task(self._download(client, number * self._scenario.join_every))
                           for number, client in enumerate(self._clients)}
        looking = asyncio.create_task(self._look())
        patience = outcome.limit * PATIENCE_FACTOR + PATIENCE_SECONDS
        _, stuck = await asyncio.wait(self._downloads.values(), timeout=patience)
        outcome.waited = (self._waits() - waits) / len(self._clients) / self._seconds()
        outcome.copies = copies(passed, self._network.payload(), self._material.size)
        for download in stuck:
            download.cancel()
        self._over = True
        await looking
        for client, download in self._downloads.items():
            name = client.host.namespace
            if name not in outcome.killed:
                failed = download in stuck or download.exception()
                outcome.complete[name] = None if failed else download.result()

    def _waits(self):
        return sum(waited(client.process.id) for client in self._clients if client.process)

    async def _download(self, client, delay):
        await asyncio.sleep(delay)
        seconds = await client.download() - self._began
        if self._scenario.leave:
            client.process.ask_to_end()
        return seconds

    async def _look(self):
        """Sees how far hosts are until it is over, and to what happens half way."""
        counters = dict.fromkeys(self._clients, (0, 0))
        befall = {"restart": self._restart, "kill": self._kill}.get(self._scenario.halfway)
        while not self._over:
            for client in self._clients:
                if client.process:
                    counters[client] = received_and_sent(client.process.id) or counters[client]
            self._outcome.looks.append((self._seconds(), list(counters.values())))
            received = {client: received for client, (received, _) in counters.items()}
            if befall and statistics.median(received.values()) >= self._material.size / 2:
                await befall(received)
                befall = None
            await asyncio.sleep(LOOK_SECONDS)

    def _seconds(self):
        return time.monotonic() - self._began

    async def _restart(self, _received):
        end = self._seconds()
        await self._origin.end()
        await self._origin.start()
        self._outcome.befell = f"restarted from {end:.0f} s to {self._seconds():.0f} s"

    async def _kill(self, received):
        foremost = most(received, self._scenario.hosts)
        self._outcome.killed = [client.host.namespace for client in foremost]
        self._outcome.befell = f"killed at {self._seconds():.0f} s: {', '.join(self._outcome.killed)}"
        for client in foremost:
            self._downloads[client].cancel()
            await client.process.kill()


def most(received, hosts):
    """Of each rack of so many hosts, those that have received most: the share that is killed."""
    racks = itertools.groupby(received, key=lambda client: client.host.rack)
    share = max(1, round(hosts * KILLED))
    return [client for _, rack in racks for client in sorted(rack, key=received.get, reverse=True)[:share]]


def copies(before, after, size):
    """How often a file of this size has passed between two readings."""
    return {
        "origin": (after["origin"] - before["origin"]) / size,
        **{way: [(late - early) / size for early, late in zip(before[way], after[way])] for way in ("into", "out")},
    }


def waited(process):
    """The seconds for which the threads of a process were ready to run and had no processor."""
    seconds = 0
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            # Nanoseconds that it ran, those that it waited, and how often it ran.
            seconds += int((thread / "schedstat").read_text().split()[1]) / 1e9
    return seconds
