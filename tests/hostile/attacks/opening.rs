//! Before there is any conversation: handshakes that are none, and other protocols.

use super::{After, Attack, End, row};
use crate::support::wire::{handshake, handshake_of};

const NOT_SYNCHRONISED: End = End::Violation("weren't followed by its handshake");

/// By those whose first words tell.
pub(super) fn immediate() -> Vec<Attack> {
    use After::Connecting;
    let headers = format!("GET /announce HTTP/1.1\r\nHost: origin\r\nCookie: {}\r\n\r\n", "a".repeat(700));
    vec![
        row(
            "wrong info hash",
            Connecting,
            handshake([7; 20]),
            End::Closed("no file with the info hash 0707"),
        ),
        row(
            "info hash of zeros",
            Connecting,
            handshake([0; 20]),
            End::Closed("no file with the info hash 0000"),
        ),
        row(
            "all reserved bits",
            Connecting,
            handshake_of([0xff; 8], [7; 20], &[0; 20]),
            End::Closed("no file with the info hash"),
        ),
        row("HTTP request with a long header", Connecting, headers, NOT_SYNCHRONISED),
        row("zeros without end", Connecting, vec![0; 64 * 1024], End::Violation("public key is none")),
        row("one byte without end", Connecting, vec![0x99; 64 * 1024], NOT_SYNCHRONISED),
    ]
}

/// By those of whom more is waited for.
pub(super) fn slow(info_hash: [u8; 20]) -> Vec<Attack> {
    use After::Connecting;
    const KEYS: End = End::Closed("took too long to agree on keys");
    const HANDSHAKE: End = End::Closed("didn't finish its handshake in time");
    let handshake = handshake(info_hash);
    vec![
        row("nothing at all", Connecting, [], KEYS),
        row("a length byte, then silence", Connecting, &handshake[..1], KEYS),
        row("half a handshake, then silence", Connecting, &handshake[..34], HANDSHAKE),
        row("a handshake without a peer id", Connecting, &handshake[..48], HANDSHAKE),
        row("a handshake but its last byte", Connecting, &handshake[..67], HANDSHAKE),
        row("another protocol's name", Connecting, *b"\x13BitTorrent protocoX", KEYS),
        row("HTTP request to the peer port", Connecting, *b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n", KEYS),
        row("TLS ClientHello to the peer port", Connecting, client_hello(), KEYS),
    ]
}

/// As long as browsers' (RFC 8446, 4.1.2; RFC 7685 pads it to 512 bytes).
pub(crate) fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 0x5a);
    hello
}
