//! Extended messages (BEP 10) that are no bencode or say what can't be, and misuse of `ut_metadata` (BEP 9).

use super::{After, Attack, End, IGNORED, row};
use crate::support::wire::{extended, id, message};

pub(super) fn attacks() -> Vec<Attack> {
    [handshakes(), metadata()].into_iter().flatten().collect()
}

const MALFORMED: End = End::Violation("malformed bencode");
const WRONG: End = End::Violation("is not what it should be");

fn handshakes() -> Vec<Attack> {
    use After::FastHandshake;
    const TOO_LONG: End = End::Violation("bytes are more than the 8192 allowed");
    const NOT_ONE: End = End::Violation("not exactly one bencoded value");
    let nested = |depth: usize| [&b"d1:m"[..], &b"d1:a".repeat(depth), b"de", &b"e".repeat(depth)].concat();
    let lists = |depth: usize| ["d1:m", &"l".repeat(depth), &"e".repeat(depth), "e"].concat();
    let text = |name, payload: &[u8], end| row(name, FastHandshake, extended(0, payload), end);
    let mebibyte = [&[0, 16, 0, 2, id::EXTENDED, 0][..], b"d1:v1048566:", &[b'a'; 1_048_566], b"e"].concat();
    vec![
        text("extended handshake nested 10,000 deep", &lists(10_000)[..].as_bytes()[..20_003], TOO_LONG),
        text("extended handshake nested 4,000 deep", lists(4000).as_bytes(), MALFORMED),
        text("dictionaries nested 1,000 deep", &nested(1000), MALFORMED),
        text("string of 99999999999 bytes", b"d1:v99999999999:ae", MALFORMED),
        text("string of 10^30 bytes", b"d1:v1000000000000000000000000000000:ae", MALFORMED),
        text("string of -1 bytes", b"d1:v-1:e", MALFORMED),
        text("negative number of ut_metadata", b"d1:md11:ut_metadatai-1eee", WRONG),
        text("number of ut_metadata over a byte", b"d1:md11:ut_metadatai256eee", WRONG),
        text("negative upload_only", b"d11:upload_onlyi-1ee", WRONG),
        text("reqq of 2^64", b"d4:reqqi18446744073709551616ee", IGNORED),
        text("port and metadata_size below zero", b"d13:metadata_sizei-1e1:pi-6881ee", IGNORED),
        text("number with a leading zero", b"d1:pi01ee", MALFORMED),
        text("negative zero", b"d1:pi-0ee", MALFORMED),
        text("number that isn't one", b"d1:pi1x2ee", MALFORMED),
        text("number without an end", b"d1:pi1", MALFORMED),
        text("unsorted keys", b"d1:v1:a1:pi1ee", MALFORMED),
        text("duplicate keys", b"d1:pi1e1:pi2ee", MALFORMED),
        text("key that is a number", b"di1ei2ee", MALFORMED),
        text("key without a value", b"d1:pe", MALFORMED),
        text("list for a handshake", b"le", End::Violation("not a dictionary")),
        text("number for a handshake", b"i1e", End::Violation("not a dictionary")),
        text("m that is a list", b"d1:mlee", WRONG),
        text("handshake without a dictionary", b"", NOT_ONE),
        text("handshake without an end", b"d1:md", MALFORMED),
        text("two dictionaries", b"dede", NOT_ONE),
        text("garbage for a handshake", &[0xff; 100], MALFORMED),
        row("handshake of 1 MiB", FastHandshake, mebibyte, End::Violation("a message of 1048578 bytes")),
        row(
            "extended message without its number",
            FastHandshake,
            message(id::EXTENDED, &[]),
            End::Violation("has a wrong length"),
        ),
        row("number of an extension that nobody has", FastHandshake, extended(77, b"garbage"), IGNORED),
        row("handshake after handshake", FastHandshake, extended(0, b"de").repeat(2000), IDLE),
    ]
}

const IDLE: End = End::Violation("messages in ten seconds that change nothing");

/// The number under which the origin takes `ut_metadata`, and the one under which these peers do.
const THEIRS: u8 = 1;

fn metadata() -> Vec<Attack> {
    use After::FastHandshake;
    const NO_SUCH_PART: End = End::Says(b"\x03d8:msg_typei2e5:piecei2147483648ee");
    let shaken = extended(0, b"d1:md11:ut_metadatai3eee");
    let text = |name, payload: &[u8], end| {
        row(name, FastHandshake, [&shaken[..], &extended(THEIRS, payload)].concat(), end)
    };
    let request = extended(THEIRS, b"d8:msg_typei0e5:piecei0ee");
    let flood = [&shaken[..], &request.repeat(2000)].concat();
    vec![
        text("request for metadata piece -1", b"d8:msg_typei0e5:piecei-1ee", WRONG),
        text("request for metadata piece 2^31", b"d8:msg_typei0e5:piecei2147483648ee", NO_SUCH_PART),
        text("request for metadata piece 2^64", b"d8:msg_typei0e5:piecei18446744073709551616ee", WRONG),
        text("request for no metadata piece", b"d8:msg_typei0ee", WRONG),
        text("metadata message of no type", b"d5:piecei0ee", WRONG),
        text("metadata message of an unknown type", b"d8:msg_typei9e5:piecei0ee", IGNORED),
        text(
            "request for metadata with data",
            b"d8:msg_typei0e5:piecei0eeXXXX",
            End::Violation("not exactly one bencoded value"),
        ),
        text("metadata for a seeder", b"d8:msg_typei1e5:piecei0e10:total_sizei4eeXXXX", IGNORED),
        text("metadata of 4 GiB for a seeder", b"d8:msg_typei1e5:piecei0e10:total_sizei4294967296eeX", WRONG),
        text("metadata that is rejected unasked", b"d8:msg_typei2e5:piecei0ee", IGNORED),
        text("metadata message of garbage", &[0xff; 50], MALFORMED),
        row("request for metadata without a handshake", FastHandshake, request, IGNORED),
        row("flood of requests for metadata", FastHandshake, flood, IDLE),
    ]
}
