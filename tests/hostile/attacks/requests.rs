//! Requests for what there isn't, for too much, and at the wrong time. Without BEP 6 they end the connection; with it
//! each gets its reject.

use super::{After, Attack, End, IGNORED, PIECES, row};
use crate::support::wire::{id, numbers, request};

/// More than is borne in ten seconds of requests that are refused.
const FLOOD: usize = 6000;
/// Bytes in a piece.
const PIECE: u32 = 64 * 1024;

pub(super) fn attacks() -> Vec<Attack> {
    [impossible(), untimely(), greedy()].into_iter().flatten().collect()
}

fn impossible() -> Vec<Attack> {
    use After::{FastUnchoke, Unchoke};
    const LENGTH: End = End::Violation("a block has 1 to");
    const BEYOND: End = End::Violation("reach beyond a piece");
    const NO_SUCH: End = End::Violation("was asked for and there are 3");
    let requests = [
        ("request of 0 bytes", request(0, 0, 0), LENGTH),
        ("request one over 128 KiB", request(0, 0, 128 * 1024 + 1), LENGTH),
        ("request of 4 GiB", request(0, 0, u32::MAX), LENGTH),
        ("request past a piece's end", request(0, PIECE - 1, 2), BEYOND),
        ("request past the file's end", request(PIECES - 1, 0, 1001), BEYOND),
        ("request from beyond a piece", request(0, PIECE, 1), BEYOND),
        ("request whose end overflows 32 bits", request(0, u32::MAX, 2), BEYOND),
        ("request for an unknown piece", request(PIECES, 0, 1), NO_SUCH),
        ("request for piece 2^32-1", request(u32::MAX, 0, 1), NO_SUCH),
    ];
    let rejected = End::GoesOn { blocks: 0, rejects: 1 };
    let all = requests.iter().flat_map(|(_, request, _)| request.clone()).collect::<Vec<u8>>();
    let mut attacks =
        vec![row("all of these with BEP 6", FastUnchoke, all, End::GoesOn { blocks: 0, rejects: 9 })];
    attacks.extend(requests.into_iter().map(|(name, request, end)| row(name, Unchoke, request, end)));
    attacks.push(row("request for a piece that isn't, with BEP 6", FastUnchoke, request(7, 0, 1), rejected));
    attacks
}

fn untimely() -> Vec<Attack> {
    use After::{Encryption, FastHandshake, Handshake, Unchoke};
    let request = request(0, 0, 16384);
    let not_interested = numbers(id::NOT_INTERESTED, &[]);
    vec![
        row("request while choked", Handshake, request.clone(), IGNORED),
        row(
            "request while choked, encrypted",
            Encryption,
            request.repeat(FLOOD),
            End::Violation("requests in ten seconds that had to be refused"),
        ),
        row(
            "request while choked, with BEP 6",
            FastHandshake,
            request.clone(),
            End::GoesOn { blocks: 0, rejects: 1 },
        ),
        row("request after interest is lost", Unchoke, [not_interested, request].concat(), IGNORED),
        row("cancel of what was never asked for", Unchoke, numbers(id::CANCEL, &[0, 0, 16384]), IGNORED),
        row("cancel of an impossible request", Unchoke, numbers(id::CANCEL, &[9, u32::MAX, 0]), IGNORED),
    ]
}

fn greedy() -> Vec<Attack> {
    use After::{FastHandshake, FastUnchoke, Unchoke};
    const REFUSED: End = End::Violation("requests in ten seconds that had to be refused");
    let taken_back = [request(0, 0, 1), numbers(id::CANCEL, &[0, 0, 1])].concat();
    let overlapping = [request(0, 0, 16384), request(0, 1, 16384), request(0, 2, 128)].concat();
    vec![
        row("overlapping requests", Unchoke, overlapping, End::GoesOn { blocks: 3, rejects: 0 }),
        row(
            "the same block 400 times",
            Unchoke,
            request(1, 7, 1).repeat(400),
            End::GoesOn { blocks: 400, rejects: 0 },
        ),
        row(
            "the same block 400 times, with BEP 6",
            FastUnchoke,
            request(1, 7, 1).repeat(400),
            End::GoesOn { blocks: 400, rejects: 0 },
        ),
        row("flood of impossible requests", FastUnchoke, request(9, 9, 9).repeat(FLOOD), REFUSED),
        row("flood of requests while choked", FastHandshake, request(0, 0, 16384).repeat(FLOOD), REFUSED),
        row("flood of requests that are cancelled", Unchoke, taken_back.repeat(FLOOD), REFUSED),
    ]
}
