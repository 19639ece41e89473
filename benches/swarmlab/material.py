"""The file that all hosts download, and the torrent of it that all are given."""

import os
import subprocess

import libtorrent

from .origins import ANNOUNCE_URL

MIB = 1 << 20


class Material:
    name = "file"

    def __init__(self, home, mib):
        """Chance bytes, of which each origin has a copy: who watches a directory would see what others do there."""
        self._home = home
        self.size = mib * MIB
        self.torrent = home / "file.torrent"
        copies = [self.directory(of) for of in ("ours", "theirs")]
        for copy in copies:
            copy.mkdir(parents=True)
        with open(copies[0] / self.name, "wb") as first, open(copies[1] / self.name, "wb") as second:
            for _ in range(mib):
                some = os.urandom(MIB)
                first.write(some)
                second.write(some)
        subprocess.run([os.environ["BINARY"], "torrent", str(copies[0] / self.name), "-o", str(self.torrent),
                        "--announce-url", ANNOUNCE_URL], check=True, stdout=subprocess.DEVNULL)
        self.info_hash = str(libtorrent.torrent_info(str(self.torrent)).info_hash())

    def directory(self, of):
        return self._home / of
