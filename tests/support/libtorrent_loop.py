"""Downloads files of an origin with libtorrent, ten at a time, chosen at random, until its time is over and it has got
one.

usage: libtorrent_loop.py NAMES DIRECTORY SECONDS SEED

NAMES is a file with a name on each line, one of which is chosen at a time; any of them may be gone or not ready. What
becomes of each download is printed: `done NAME`, `gave up NAME`, and, of each piece that doesn't match its hash,
`hash failed NAME`. Then `over`.
"""

import os
import random
import sys
import tempfile
import time
import urllib.error
import urllib.request

import libtorrent as lt

SETTINGS = {
    "listen_interfaces": "0.0.0.0:6881",
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    **dict.fromkeys(["enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp",
                     "enable_incoming_utp"], False),
}
# A download takes its second for finding the origin, whatever its size.
AT_A_TIME = 10
# Slow enough, for each, that some files change while they are downloaded.
RATE = 2 * 1024 * 1024
# Seconds after which nobody is left who has the file, or it isn't ready soon.
PATIENCE = 5


def fetch(name):
    try:
        with urllib.request.urlopen(f"http://origin:6969/serve?{name}", timeout=PATIENCE) as answer:
            return lt.torrent_info(lt.bdecode(answer.read()))
    except urllib.error.HTTPError as error:
        if error.code not in (404, 503):
            raise
    except TimeoutError:
        pass
    return None


class Downloads:
    def __init__(self, directory):
        self.session = lt.session(SETTINGS)
        self.directory = directory
        # By info hash: the handle, the name, and when to give up.
        self.running = {}
        self.has_got_one = False

    def start(self, name):
        torrent = fetch(name)
        if torrent is None or torrent.info_hash() in self.running:
            return
        # Of the same name as another that is still being deleted there, perhaps.
        place = tempfile.mkdtemp(dir=self.directory)
        # No flag is set: it begins at once, and isn't put in a queue.
        handle = self.session.add_torrent({"ti": torrent, "save_path": place, "flags": 0})
        handle.set_download_limit(RATE)
        self.running[torrent.info_hash()] = (handle, name, time.monotonic() + PATIENCE)

    def end(self, info_hash, fate):
        handle, name, _ = self.running.pop(info_hash)
        print(fate, name, flush=True)
        self.session.remove_torrent(handle, lt.session.delete_files)

    def go_on(self):
        self.session.wait_for_alert(20)
        for alert in self.session.pop_alerts():
            # Of one that was given up, perhaps.
            known = isinstance(alert, lt.torrent_alert) and alert.handle.is_valid()
            info_hash = alert.handle.info_hash() if known else None
            if info_hash not in self.running:
                continue
            if isinstance(alert, lt.hash_failed_alert):
                print("hash failed", self.running[info_hash][1], flush=True)
            elif isinstance(alert, lt.torrent_finished_alert):
                self.has_got_one = True
                self.end(info_hash, "done")
        now = time.monotonic()
        for info_hash in [info_hash for info_hash, (_, _, end) in self.running.items() if end < now]:
            self.end(info_hash, "gave up")


def main():
    names, directory, seconds, seed = sys.argv[1:]
    with open(names, encoding="utf-8") as file:
        names = file.read().split()
    chance = random.Random(int(seed))
    downloads = Downloads(directory)
    end = time.monotonic() + int(seconds)
    # On a busy machine it may take all that time to begin; it goes on undisturbed then, for nothing changes any more.
    while time.monotonic() < end or not downloads.has_got_one:
        if len(downloads.running) < AT_A_TIME:
            downloads.start(chance.choice(names))
        downloads.go_on()
    print("over", flush=True)
    # Without taking the session down, which has nothing left to do but crash.
    os._exit(0)


main()
