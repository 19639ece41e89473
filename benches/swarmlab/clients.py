"""Stock clients as hosts run them: what each is told, and how it says that it has the file. All go on seeding until
they are told to leave, and find peers by the tracker alone."""

import json

from .process import Process

HERE = __file__.rpartition("/")[0]
PYTHON = "/usr/bin/python3"
# What each prints, by itself or by a script that it runs then.
COMPLETE = "complete"
READY = "ready"


def aria2(torrent, home):
    return [
        "aria2c", "--no-conf", "--dir=files", "--seed-ratio=0.0", "--file-allocation=none", "--listen-port=6881",
        "--disable-ipv6=true", "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
        "--summary-interval=0", "--show-console-readout=false", "--enable-color=false",
        f"--on-bt-download-complete={announcing_script(home)}", str(torrent),
    ]


def libtorrent(torrent, home):
    return [PYTHON, "-I", f"{HERE}/torrent_peer.py", str(torrent), str(home / "files")]


def transmission(torrent, home):
    settings = {"dht-enabled": False, "pex-enabled": False, "lpd-enabled": False, "utp-enabled": False,
                "port-forwarding-enabled": False}
    (home / "settings").mkdir()
    (home / "settings" / "settings.json").write_text(json.dumps(settings))
    return ["transmission-cli", "-g", str(home / "settings"), "-w", str(home / "files"), "-M",
            "-f", str(announcing_script(home)), str(torrent)]


COMMANDS = {"aria2": aria2, "libtorrent": libtorrent, "transmission": transmission}
# One host of each kind after the other.
MIXED = "mixed"
# These take a while to start, say when they are ready, and begin when they are told.
HELD = {"libtorrent"}


def announcing_script(home):
    """A script that says it where the client's own output goes, as clients run it with that of theirs; on a line of its
    own, as they may be in the middle of one."""
    script = home / "say-complete"
    script.write_text(f"#!/bin/sh\nprintf '\\n{COMPLETE}\\n'\n")
    script.chmod(0o755)
    return script


class Client:
    """One host's client."""

    def __init__(self, kind, host, torrent, home):
        self.kind, self.host = kind, host
        self._torrent, self._home = torrent, home
        # While there is one.
        self.process = None

    async def prepare(self):
        """Starts what takes long to start, so that all can begin at once."""
        (self._home / "files").mkdir(parents=True)
        if self.kind in HELD:
            await self._start(READY)
            await self.process.said[READY]

    async def download(self):
        """The time when it had the file."""
        if self.process:
            self.process.tell("go")
        else:
            await self._start()
        return (await self.process.said[COMPLETE]).time

    async def _start(self, *words):
        program = COMMANDS[self.kind](self._torrent, self._home)
        self.process = await Process.start(self.host, program, self._home, (COMPLETE, *words))
