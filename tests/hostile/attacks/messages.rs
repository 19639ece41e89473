//! Messages of BEP 3 and 6 that no seed can make sense of, and those that it can but not so often.

use super::{After, Attack, End, IGNORED, PIECES, row};
use crate::support::wire::{id, message, numbers};

/// More than is borne in ten seconds of messages that change nothing.
const FLOOD: usize = 2000;

pub(super) fn attacks() -> Vec<Attack> {
    [lengths(), pieces(), fast_without_negotiation(), fast(), floods()].into_iter().flatten().collect()
}

/// By those who leave something unsaid.
pub(super) fn slow() -> Vec<Attack> {
    use After::{Encryption, FastUnchoke, Handshake, Unchoke};
    const SILENT: End = End::Closed("the peer was silent for too long");
    let longest = message(99, &vec![0; 32_767]);
    let unfinished = &longest[..longest.len() - 1];
    vec![
        row("silence after a handshake", Handshake, [], SILENT),
        row("silence once unchoked", Unchoke, [], SILENT),
        row("half a length prefix", FastUnchoke, [0, 0], SILENT),
        row("the longest message but its last byte", Handshake, unfinished, SILENT),
        row("the longest message but its last byte, encrypted", Encryption, unfinished, SILENT),
    ]
}

fn lengths() -> Vec<Attack> {
    use After::{Encryption, FastHandshake, Handshake, Unchoke};
    const LENGTH: End = End::Violation("has a wrong length");
    vec![
        row("length prefix of 4 GiB", Handshake, [0xff; 4], End::Violation("a message of 4294967295 bytes")),
        row("length prefix of 4 GiB, encrypted", Encryption, [0xff; 4], End::Violation("4294967295 bytes")),
        row(
            "length prefix one over the cap",
            FastHandshake,
            32_769_u32.to_be_bytes(),
            End::Violation("a message of 32769 bytes"),
        ),
        row("a message as long as may be", Handshake, message(99, &vec![0; 32_767]), IGNORED),
        row("interested with a payload", Handshake, message(id::INTERESTED, &[0]), LENGTH),
        row("choke with a payload", Handshake, message(id::CHOKE, &[0; 4]), LENGTH),
        row("have without a piece", Handshake, message(id::HAVE, &[]), LENGTH),
        row("have of nine bytes", Handshake, numbers(id::HAVE, &[0, 0]), LENGTH),
        row("request of eleven bytes", Unchoke, message(id::REQUEST, &[0; 11]), LENGTH),
        row("request of thirteen bytes", Unchoke, message(id::REQUEST, &[0; 13]), LENGTH),
        row("cancel of eight bytes", Unchoke, numbers(id::CANCEL, &[0, 0]), LENGTH),
        row("port of one byte", Handshake, message(id::PORT, &[1]), LENGTH),
        row("piece of four bytes", Handshake, numbers(id::PIECE, &[0]), LENGTH),
        row("have all with a payload", FastHandshake, message(id::HAVE_ALL, &[1]), LENGTH),
    ]
}

fn pieces() -> Vec<Attack> {
    use After::{Encryption, FastHandshake, Handshake};
    const BITFIELD: End = End::Violation("where 1 were due");
    const NO_SUCH: End = End::Violation("of 3");
    let bits = |bits: &[u8]| message(id::BITFIELD, bits);
    vec![
        row("a block for a seeder", Handshake, message(id::PIECE, &[0; 1000]), UNREQUESTED),
        row("a block for a seeder, encrypted", Encryption, message(id::PIECE, &[0; 1000]), UNREQUESTED),
        row("have of an unknown piece", Handshake, numbers(id::HAVE, &[PIECES]), NO_SUCH),
        row("have of piece 2^32-1", FastHandshake, numbers(id::HAVE, &[u32::MAX]), NO_SUCH),
        row("bitfield of no bytes", Handshake, bits(&[]), BITFIELD),
        row("bitfield too long", Handshake, bits(&[0, 0]), BITFIELD),
        row("bitfield of 32 KiB", Handshake, bits(&[0; 32_767]), BITFIELD),
        row(
            "bitfield with spare bits",
            Handshake,
            bits(&[0b0001_0000]),
            End::Violation("bits set beyond the last piece"),
        ),
        row(
            "bitfield with all bits",
            Handshake,
            bits(&[0xff]),
            End::Violation("bits set beyond the last piece"),
        ),
        row("bitfield twice", Handshake, bits(&[0b0100_0000]).repeat(2), IGNORED),
        row(
            "bitfield that takes a piece back",
            Handshake,
            [bits(&[0b0100_0000]), bits(&[0])].concat(),
            IGNORED,
        ),
    ]
}

const UNREQUESTED: End = End::Violation("an answer to a request that nobody made");

fn fast_without_negotiation() -> Vec<Attack> {
    use After::Handshake;
    const NOT_NEGOTIATED: End = End::Violation("came without its negotiation");
    vec![
        row("suggest without BEP 6", Handshake, numbers(id::SUGGEST, &[0]), NOT_NEGOTIATED),
        row("have all without BEP 6", Handshake, numbers(id::HAVE_ALL, &[]), NOT_NEGOTIATED),
        row("have none without BEP 6", Handshake, numbers(id::HAVE_NONE, &[]), NOT_NEGOTIATED),
        row("reject without BEP 6", Handshake, numbers(id::REJECT, &[0, 0, 1]), NOT_NEGOTIATED),
        row("allowed fast without BEP 6", Handshake, numbers(id::ALLOWED_FAST, &[0]), NOT_NEGOTIATED),
        row("extended message without BEP 10", Handshake, message(id::EXTENDED, b"\0garbage"), IGNORED),
    ]
}

fn fast() -> Vec<Attack> {
    use After::FastHandshake;
    const TWICE: End = End::Violation("had already said which pieces it has");
    const NO_SUCH: End = End::Violation("of 3");
    let one = |id| numbers(id, &[]);
    let (all, none) = (one(id::HAVE_ALL), one(id::HAVE_NONE));
    let bitfield = message(id::BITFIELD, &[0]);
    vec![
        row("have all, then have none", FastHandshake, [&all[..], &none].concat(), TWICE),
        row("have none twice", FastHandshake, none.repeat(2), TWICE),
        row("bitfield, then have none", FastHandshake, [&bitfield[..], &none].concat(), TWICE),
        row("suggest of nonsense", FastHandshake, numbers(id::SUGGEST, &[PIECES]), NO_SUCH),
        row("allowed fast of nonsense", FastHandshake, numbers(id::ALLOWED_FAST, &[u32::MAX]), NO_SUCH),
        row("reject of nonsense", FastHandshake, numbers(id::REJECT, &[9, 9, 9]), UNREQUESTED),
        row(
            "suggest and allowed fast for a seed",
            FastHandshake,
            [numbers(id::SUGGEST, &[0]), numbers(id::ALLOWED_FAST, &[0])].concat(),
            IGNORED,
        ),
    ]
}

fn floods() -> Vec<Attack> {
    use After::{FastHandshake, Handshake, Unchoke};
    const IDLE: End = End::Violation("messages in ten seconds that change nothing");
    let one = |id| numbers(id, &[]);
    let flapping = [one(id::INTERESTED), one(id::NOT_INTERESTED)].concat();
    let chokes = [one(id::CHOKE), one(id::UNCHOKE)].concat();
    vec![
        row("flood of keep-alives", Handshake, [0; 4].repeat(FLOOD), IDLE),
        row("flood of chokes and unchokes", Handshake, chokes.repeat(FLOOD), IDLE),
        row("flood of interest and its loss", Handshake, flapping.repeat(FLOOD), IDLE),
        row("flood of haves of one piece", Handshake, numbers(id::HAVE, &[0]).repeat(FLOOD), IDLE),
        row("flood of bitfields", Handshake, message(id::BITFIELD, &[0]).repeat(FLOOD), IDLE),
        row("flood of ports", Handshake, message(id::PORT, &[0, 1]).repeat(FLOOD), IDLE),
        row("flood of unknown ids", Handshake, message(99, b"what?").repeat(FLOOD), IDLE),
        row("flood of suggestions", FastHandshake, numbers(id::SUGGEST, &[0]).repeat(FLOOD), IDLE),
        row("flood of cancels", Unchoke, numbers(id::CANCEL, &[0, 0, 16384]).repeat(FLOOD), IDLE),
        row("interest that comes and goes a little", Handshake, flapping.repeat(20), IGNORED),
    ]
}
