"""A peer of one torrent by libtorrent (Debian's python3-libtorrent) with the settings that it has by default, but for
uTP, whose bytes TCP's headers don't tell.

usage: torrent_peer.py TORRENT DIRECTORY [seed]

A seed prints `announced` when the tracker has answered it. A host prints `ready`, waits for a line, downloads, prints
`complete` and lingers. Either leaves the swarm on SIGTERM.
"""

import os
import signal
import sys

import libtorrent as lt

SETTINGS = {
    "listen_interfaces": "0.0.0.0:6881",
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
                  | lt.alert.category_t.tracker_notification,
    **dict.fromkeys(["enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp",
                     "enable_incoming_utp"], False),
}
# How long the tracker is waited for on leaving, in milliseconds.
FAREWELL = 1000


def main():
    torrent, directory, *seed = sys.argv[1:]
    leaving = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
    session = lt.session(SETTINGS)
    adding = {"ti": lt.torrent_info(torrent), "save_path": directory,
              # Without the flags of those that wait in a queue.
              "flags": lt.torrent_flags.seed_mode if seed else 0}
    if not seed:
        print("ready", flush=True)
        sys.stdin.readline()
    peer = session.add_torrent(adding)
    while not leaving:
        session.wait_for_alert(500)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert) and not seed:
                print("complete", flush=True)
            elif isinstance(alert, lt.tracker_reply_alert) and seed:
                print("announced", flush=True)
            else:
                print(alert.message(), flush=True)
    # Which tells the tracker.
    peer.pause()
    session.pop_alerts()
    session.wait_for_alert(FAREWELL)
    # Without taking the session down, which has nothing left to do but crash.
    os._exit(0)


main()
