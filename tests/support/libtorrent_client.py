"""Downloads one torrent with libtorrent (Debian's python3-libtorrent), then ends with code 0.

usage: libtorrent_client.py TORRENT-FILE-OR-URL DIRECTORY [RATE]

RATE is the most it takes, in bytes a second. A piece that doesn't match its hash is printed as `hash failed: N`; the
file is complete on disk before `done` is printed.
"""

import os
import sys
import urllib.request

import libtorrent as lt

OFF = dict.fromkeys(["enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp",
                     "enable_incoming_utp"], False)
KIND = lt.alert.category_t
CATEGORIES = (KIND.error_notification | KIND.peer_notification | KIND.tracker_notification | KIND.storage_notification
              | KIND.status_notification | KIND.piece_progress_notification)


def main():
    source, directory = sys.argv[1:3]
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    if source.startswith("http:"):
        with urllib.request.urlopen(source) as answer:
            torrent = answer.read()
    else:
        with open(source, "rb") as file:
            torrent = file.read()
    session = lt.session({
        "listen_interfaces": "0.0.0.0:6881,[::]:6881",
        "alert_mask": CATEGORIES,
        **OFF,
    })
    download = session.add_torrent({"ti": lt.torrent_info(lt.bdecode(torrent)), "save_path": directory})
    # The session's own limit doesn't concern peers on private networks.
    download.set_download_limit(rate)
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.hash_failed_alert):
                print("hash failed:", alert.piece_index, flush=True)
            elif isinstance(alert, (lt.tracker_error_alert, lt.peer_error_alert, lt.file_error_alert,
                                    lt.peer_disconnected_alert, lt.tracker_reply_alert)):
                print(alert.message(), flush=True)
            elif isinstance(alert, lt.piece_finished_alert) and alert.piece_index % 100 == 0:
                print("piece", alert.piece_index, flush=True)
            elif isinstance(alert, lt.torrent_finished_alert):
                download.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert):
                print("done", flush=True)
                # Without taking the session down, which has nothing left to do but crash.
                os._exit(0)


main()
