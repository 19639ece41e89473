"""Downloads one torrent with libtorrent (Debian's python3-libtorrent), then ends with code 0.

A piece that doesn't match its hash is printed as `hash failed: N`; the file is complete on disk before `done` is
printed.
"""

import argparse
import os
import urllib.request

import libtorrent as lt

OFF = dict.fromkeys(["enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp",
                     "enable_incoming_utp"], False)
KIND = lt.alert.category_t
CATEGORIES = (KIND.error_notification | KIND.peer_notification | KIND.tracker_notification | KIND.storage_notification
              | KIND.status_notification | KIND.piece_progress_notification | KIND.connect_notification)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a torrent file, the URL of one, or a magnet link")
    parser.add_argument("directory")
    parser.add_argument("--rate", type=int, default=0, help="the most it takes, in bytes a second")
    parser.add_argument("--encryption", choices=["plaintext", "rc4", "both"],
                        help="no connection without an encrypted handshake, and this for what follows")
    return parser.parse_args()


def encryption(level):
    if level is None:
        return {}
    return {
        "out_enc_policy": int(lt.enc_policy.forced),
        "in_enc_policy": int(lt.enc_policy.forced),
        "allowed_enc_level": int(getattr(lt.enc_level, level)),
    }


def parameters(source):
    if source.startswith("magnet:"):
        return lt.parse_magnet_uri(source)
    if source.startswith("http:"):
        with urllib.request.urlopen(source) as answer:
            torrent = answer.read()
    else:
        with open(source, "rb") as file:
            torrent = file.read()
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(lt.bdecode(torrent))
    return parameters


def main():
    wanted = arguments()
    session = lt.session({
        "listen_interfaces": "0.0.0.0:6881,[::]:6881",
        "alert_mask": CATEGORIES,
        **encryption(wanted.encryption),
        **OFF,
    })
    adding = parameters(wanted.source)
    adding.save_path = wanted.directory
    download = session.add_torrent(adding)
    # The session's own limit doesn't concern peers on private networks.
    download.set_download_limit(wanted.rate)
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
