"""A program that runs on a host, and what it says: whoever waits for a line of its output is told when it comes."""

import asyncio
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from .network import inside

# So many seconds a program has to end when it is asked to.
PATIENCE = 10


class Ended(Exception):
    """A program that ended before it said what somebody waited for."""


@dataclass(frozen=True)
class Line:
    text: str
    # When it was read, by `time.monotonic`.
    time: float


class Process:
    """`said` has, for each word that the program was started with, a future of the first line that begins so."""

    def __init__(self, name, child, out, words):
        loop = asyncio.get_running_loop()
        self.said = {word: loop.create_future() for word in words}
        self._name = name
        self._child = child
        self._reader = asyncio.create_task(self._read(out))

    @classmethod
    async def start(cls, host, program, home, words=()):
        """Runs `program`, a list, on `host` in the directory `home`, where its output is kept as `out` and `log`."""
        with open(home / "log", "ab") as log:
            child = await asyncio.create_subprocess_exec(
                *inside(host, program), cwd=home, env={**os.environ, "HOME": str(home)},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log)
        return cls(f"{program[0]} on {host.namespace}", child, open(home / "out", "ab"), words)

    @property
    def id(self):
        return self._child.pid

    def tell(self, line):
        self._child.stdin.write(f"{line}\n".encode())

    async def _read(self, out):
        rest = b""
        with out:
            while some := await self._child.stdout.read(1 << 16):
                now = time.monotonic()
                out.write(some)
                # Some write over the line before.
                *lines, rest = re.split(rb"[\r\n]", rest + some)
                for line in lines:
                    self._hear(line, now)
        for word, future in self.said.items():
            if not future.done():
                future.set_exception(Ended(f"{self._name} ended before it said {word!r}"))
                # Nobody may be waiting for it.
                future.exception()

    def _hear(self, line, now):
        for word, future in self.said.items():
            if line.startswith(word.encode()) and not future.done():
                future.set_result(Line(line.decode(errors="replace"), now))

    def ask_to_end(self):
        self._send(signal.SIGTERM)

    async def end(self):
        """Asks it to end and waits until it has, by force if it takes too long."""
        self.ask_to_end()
        try:
            await asyncio.wait_for(self._child.wait(), PATIENCE)
        except asyncio.TimeoutError:
            pass
        await self.kill()

    async def kill(self):
        self._send(signal.SIGKILL)
        await self._child.wait()
        await self._reader

    def _send(self, number):
        # Not by asyncio, which would take note of an end itself before those who wait for it.
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.id, number)
