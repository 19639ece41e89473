//! Encrypted handshakes that break its rules: before the responder's key, and after.

use super::{After, Attack, End, row};
use crate::support::mse::{KEY_LEN, Offer, key_below_prime, small_key};
use crate::support::wire::handshake;

/// As many bytes of padding as may come, and the mark behind it.
const SYNCHRONISED_WITHIN: usize = 512 + 20;

pub(super) fn immediate(info_hash: [u8; 20]) -> Vec<Attack> {
    [keys(), offers(info_hash)].into_iter().flatten().collect()
}

fn keys() -> Vec<Attack> {
    use After::Connecting;
    const KEY: End = End::Violation("public key is none");
    let garbage = vec![0xa5; KEY_LEN + SYNCHRONISED_WITHIN];
    vec![
        row("public key 0", Connecting, small_key(0), KEY),
        row("public key 1", Connecting, small_key(1), KEY),
        row("public key P-1", Connecting, key_below_prime(1), KEY),
        row("public key P", Connecting, key_below_prime(0), KEY),
        row("public key of ones", Connecting, [0xff; KEY_LEN], KEY),
        row(
            "garbage beyond the padding's limit",
            Connecting,
            garbage,
            End::Violation("weren't followed by its handshake"),
        ),
    ]
}

fn offers(info_hash: [u8; 20]) -> Vec<Attack> {
    let honest = Offer::honest(info_hash, &handshake(info_hash));
    let other = handshake([9; 20]);
    let lies = [
        (
            "wrong VC",
            Offer { verification: [1; 8], ..honest.clone() },
            End::Violation("isn't encrypted for this torrent"),
        ),
        (
            "PadC of 65,535 bytes",
            Offer { padding_len: u16::MAX, ..honest.clone() },
            End::Violation("65535 bytes of padding are more than"),
        ),
        (
            "PadC one over the limit",
            Offer { padding_len: 513, ..honest.clone() },
            End::Violation("513 bytes of padding are more than"),
        ),
        (
            "IA of 65,535 bytes",
            Offer { initial_len: u16::MAX, ..honest.clone() },
            End::Violation("65535 bytes before an answer"),
        ),
        (
            "no way to go on",
            Offer { provide: 0, ..honest.clone() },
            End::Violation("no way to go on that is allowed here (crypto_provide 0x0)"),
        ),
        (
            "ways to go on that nobody knows",
            Offer { provide: !3, ..honest.clone() },
            End::Violation("no way to go on that is allowed here"),
        ),
        (
            "keys for an unknown torrent",
            Offer::honest([9; 20], &other),
            End::Closed("asks in encrypted form for a torrent that isn't served"),
        ),
        (
            "keys for one torrent, handshake for another",
            Offer::honest(info_hash, &other),
            End::Violation("its handshake names another"),
        ),
        ("garbage in IA", Offer::honest(info_hash, &[0xa5; 100]), END_OF_TALK),
        ("encryption within encryption", Offer::honest(info_hash, &small_key(2)), END_OF_TALK),
        (
            "garbage behind an encrypted handshake",
            Offer::honest(info_hash, &[&handshake(info_hash)[..], &[0xa5; 100]].concat()),
            End::Violation("a message of 2779096485 bytes"),
        ),
    ];
    lies.into_iter().map(|(name, offer, end)| row(name, After::KeyExchange, offer, end)).collect()
}

const END_OF_TALK: End = End::Violation("doesn't speak BitTorrent");

pub(super) fn slow(info_hash: [u8; 20]) -> Vec<Attack> {
    use After::Connecting;
    const KEYS: End = End::Closed("took too long to agree on keys");
    let garbage = vec![0xa5; KEY_LEN + SYNCHRONISED_WITHIN - 1];
    let unfinished = Offer { initial_len: 4096, ..Offer::honest(info_hash, &[]) };
    vec![
        row("IA that doesn't come", After::KeyExchange, unfinished, KEYS),
        row("a public key but its last byte", Connecting, &garbage[..KEY_LEN - 1], KEYS),
        row("garbage of a public key's length", Connecting, &garbage[..KEY_LEN], KEYS),
        row("garbage up to the padding's limit", Connecting, garbage, KEYS),
        row("a public key, then nothing", Connecting, small_key(2), KEYS),
    ]
}
