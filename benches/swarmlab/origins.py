"""Who gives the file away, on the origin's host: this program, or a plain tracker with a plain seed. Both answer at the
same address for the same torrent."""

import os

from .clients import HERE, PYTHON
from .network import ORIGIN
from .process import Process

TRACKER_PORT = 6969
TRACKER = f"http://{ORIGIN.address}:{TRACKER_PORT}"
ANNOUNCE_URL = f"{TRACKER}/announce"


class Origin:
    """Can be started again once it has ended, with what it has kept in its `home`."""

    def __init__(self, material, home, flags):
        self._material, self._home, self._flags = material, home, flags
        self._running = []

    async def start(self):
        """Returns when all that downloaders need is there."""
        raise NotImplementedError

    async def end(self):
        """As a service manager ends a service."""
        while self._running:
            await self._running.pop().end()

    async def _run(self, *program, until=None):
        """Until it has said this word, if there is one."""
        words = [until] if until else []
        process = await Process.start(ORIGIN, program, self._home, words)
        self._running.append(process)
        if until:
            await process.said[until]

    async def _ask(self, path):
        """Asks until somebody listens, and waits for the answer, whatever it is."""
        asking = await Process.start(
            ORIGIN, ["curl", "--silent", "--retry-connrefused", "--retry", "60", "--output", "/dev/null",
                     "--write-out", "answered\n", TRACKER + path], self._home, ["answered"])
        await asking.said["answered"]
        await asking.end()


class Distributor(Origin):
    async def start(self):
        await self._run(os.environ["BINARY"], "serve", self._material.directory("ours"),
                        "--state", self._home / "state", "--http", f"{ORIGIN.address}:{TRACKER_PORT}",
                        "--peers", f"{ORIGIN.address}:6881", *self._flags, until="listening")
        # Answered once the file is hashed.
        await self._ask(f"/serve?{self._material.name}")


class Opentracker(Origin):
    """And libtorrent."""

    async def start(self):
        directory = self._home / "tracker"
        directory.mkdir(exist_ok=True)
        # Debian's serves those torrents only that are on a list, which it doesn't read as root.
        (directory / "torrents").write_text(f"{self._material.info_hash}\n")
        directory.chmod(0o755)
        await self._run("opentracker", "-i", ORIGIN.address, "-p", str(TRACKER_PORT), "-d", directory, "-w", "torrents",
                        "-u", "nobody")
        # A seed that isn't answered at first would take its time to announce again.
        await self._ask("/scrape")
        await self._run(PYTHON, "-I", f"{HERE}/torrent_peer.py", self._material.torrent,
                        self._material.directory("theirs"), "seed", until="announced")


ORIGINS = {"distributor": Distributor, "opentracker": Opentracker}
