//! Message stream encryption with ends that mean harm: nothing panics, nothing is kept without bound, and each
//! refusal says what was wrong.

use bytes::BytesMut;
use distributor_proto::{
    InfoHash, MAX_INITIAL_LEN, MAX_MSE_KEPT_LEN, MAX_MSE_PADDING, MseError, MseInitiator, MseOffer,
    MseProgress, MseResponder, TorrentDigest,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    mse_script::{
        KEY_A, KEY_B, PADDING_A, PADDING_B, REQUEST, SELECT_RC4_PADDED, a_says, b_says, hex, negotiation,
        secret, with_len,
    },
    support::{INFO_HASH, handshake},
};

const LONGEST: u16 = MAX_MSE_PADDING as u16;

/// P.
const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74 \
    020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437 \
    4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563";

/// How it comes out for an end that hears all this.
#[derive(Debug, PartialEq)]
enum Outcome {
    Waits,
    /// For another torrent than the right one.
    AsksForAnother,
    Done(Vec<u8>),
    Refuses(MseError),
}

impl From<Result<MseProgress, MseError>> for Outcome {
    fn from(result: Result<MseProgress, MseError>) -> Self {
        match result {
            Ok(MseProgress::More) => Self::Waits,
            Ok(MseProgress::Torrent(_)) => Self::AsksForAnother,
            Ok(MseProgress::Done { received, .. }) => Self::Done(received.to_vec()),
            Err(error) => Self::Refuses(error),
        }
    }
}

fn responder() -> MseResponder {
    MseResponder::new(MseOffer::RC4_ONLY, secret(101), PADDING_B)
}

fn initiator(offer: MseOffer) -> MseInitiator {
    MseInitiator::new(INFO_HASH, offer, secret(1), PADDING_A, b"", b"", &mut BytesMut::new())
}

fn responder_hears(bytes: &[u8]) -> Outcome {
    let (mut responder, mut out) = (responder(), BytesMut::new());
    match responder.receive(bytes, &mut out) {
        Ok(MseProgress::Torrent(digest)) if digest == TorrentDigest::of(&INFO_HASH) => {
            responder.choose(INFO_HASH, &mut out).into()
        }
        result => result.into(),
    }
}

fn initiator_hears(bytes: &[u8]) -> Outcome {
    initiator(MseOffer::PLAINTEXT_OR_RC4).receive(bytes, &mut BytesMut::new()).into()
}

#[test]
fn refuses_keys_whose_powers_are_known() {
    let key = |last_bytes: &[u8]| [&hex(PRIME)[..96 - last_bytes.len()], last_bytes].concat();
    let small = |number| [&[0; 95][..], &[number]].concat();
    let [p_less_2, p_less_1, p, p_more_1] = [0x61, 0x62, 0x63, 0x64].map(|last| key(&[0x09, 0x05, last]));
    for refused in [small(0), small(1), p_less_1, p, p_more_1, vec![0xff; 96]] {
        assert_eq!(responder_hears(&refused), Outcome::Refuses(MseError::PublicKey));
        assert_eq!(initiator_hears(&refused), Outcome::Refuses(MseError::PublicKey));
    }
    for taken in [small(2), p_less_2] {
        assert_eq!(responder_hears(&taken), Outcome::Waits);
        assert_eq!(initiator_hears(&taken), Outcome::Waits);
    }
}

#[test]
fn gives_up_behind_the_longest_padding_and_not_a_byte_before() {
    let garbage = [0x55; MAX_MSE_PADDING + 20];
    let (key_a, key_b) = (hex(KEY_A), hex(KEY_B));
    // A mark has 20 bytes at the responder and 8 at the initiator.
    assert_eq!(responder_hears(&[&key_a, &garbage[..MAX_MSE_PADDING + 19]].concat()), Outcome::Waits);
    let refused = Outcome::Refuses(MseError::NotSynchronised);
    assert_eq!(responder_hears(&[&key_a, &garbage[..]].concat()), refused);
    assert_eq!(initiator_hears(&[&key_b, &garbage[..MAX_MSE_PADDING + 7]].concat()), Outcome::Waits);
    assert_eq!(initiator_hears(&[&key_b, &garbage[..MAX_MSE_PADDING + 8]].concat()), refused);
}

#[test]
fn gives_up_at_the_same_byte_when_they_come_singly() {
    let (mut responder, mut initiator) = (responder(), initiator(MseOffer::RC4_ONLY));
    let mut out = BytesMut::new();
    assert!(responder.receive(&hex(KEY_A), &mut out).is_ok());
    assert!(initiator.receive(&hex(KEY_B), &mut out).is_ok());
    let refuses = |results: Vec<Outcome>| results.iter().position(|result| *result != Outcome::Waits);
    let bytes = [[0x55]; MAX_MSE_PADDING + 20];
    let heard = bytes.iter().map(|byte| responder.receive(byte, &mut out).into()).collect();
    assert_eq!(refuses(heard), Some(MAX_MSE_PADDING + 19));
    let heard = bytes.iter().map(|byte| initiator.receive(byte, &mut out).into()).collect();
    assert_eq!(refuses(heard), Some(MAX_MSE_PADDING + 7));
}

#[test]
fn takes_paddings_up_to_the_longest() {
    let padding = [0x55; MAX_MSE_PADDING + 1];
    let provides = |len| [negotiation(2, len), with_len(b"hello")].concat();
    let longest = &padding[..MAX_MSE_PADDING];
    assert_eq!(responder_hears(&a_says(longest, &provides(LONGEST))), Outcome::Done(b"hello".to_vec()));
    assert_eq!(initiator_hears(&b_says(longest, &negotiation(2, LONGEST))), Outcome::Done(Vec::new()));

    let refused = Outcome::Refuses(MseError::NotSynchronised);
    assert_eq!(responder_hears(&a_says(&padding, &provides(0))), refused);
    assert_eq!(initiator_hears(&b_says(&padding, &negotiation(2, 0))), refused);

    let refused = Outcome::Refuses(MseError::Padding { len: MAX_MSE_PADDING + 1 });
    assert_eq!(responder_hears(&a_says(b"", &provides(LONGEST + 1))), refused);
    assert_eq!(initiator_hears(&b_says(b"", &negotiation(2, LONGEST + 1))), refused);
}

#[test]
fn takes_an_initial_payload_up_to_the_longest() {
    let initial = [0x55; MAX_INITIAL_LEN + 1];
    let provides = |initial| [negotiation(2, LONGEST), with_len(initial)].concat();
    let longest = &initial[..MAX_INITIAL_LEN];
    assert_eq!(responder_hears(&a_says(PADDING_A, &provides(longest))), Outcome::Done(longest.to_vec()));
    let refused = Outcome::Refuses(MseError::Initial { len: MAX_INITIAL_LEN + 1 });
    assert_eq!(responder_hears(&a_says(PADDING_A, &provides(&initial))), refused);
}

#[test]
fn keeps_no_more_for_an_initiator_than_it_may_send_before_an_answer() {
    let asks = a_says(b"", b"");
    for (len, refused) in [(MAX_MSE_KEPT_LEN, false), (MAX_MSE_KEPT_LEN + 1, true)] {
        let more = vec![0; len];
        let expected = if refused { Outcome::Refuses(MseError::Overrun) } else { Outcome::AsksForAnother };
        let (mut at_once, mut singly, mut out) = (responder(), responder(), BytesMut::new());
        assert_eq!(Outcome::from(at_once.receive(&[&asks[..], &more].concat(), &mut out)), expected);
        assert!(matches!(singly.receive(&asks, &mut out), Ok(MseProgress::Torrent(_))));
        let last = more.iter().map(|byte| singly.receive(&[*byte], &mut out)).last().unwrap();
        assert_eq!(Outcome::from(last), expected);
    }
}

#[test]
fn the_responder_selects_only_what_is_provided() {
    for (provided, allowed) in [(0, false), (1, false), (2, true), (3, true), (4, false), (u32::MAX, true)] {
        let outcome =
            responder_hears(&a_says(PADDING_A, &[negotiation(provided, 0), with_len(b"")].concat()));
        let refused = Outcome::Refuses(MseError::NothingInCommon { provided });
        assert_eq!(outcome, if allowed { Outcome::Done(Vec::new()) } else { refused }, "{provided:#x}");
    }
}

#[test]
fn the_initiator_goes_on_only_with_one_of_the_ways_that_it_offered() {
    let (plain, rc4, either) = (MseOffer::PLAINTEXT_ONLY, MseOffer::RC4_ONLY, MseOffer::PLAINTEXT_OR_RC4);
    let allowed = [(plain, 1), (rc4, 2), (either, 1), (either, 2)];
    for offer in [plain, rc4, either] {
        for selected in [0, 1, 2, 3, 4, 6, 0x0100_0002, u32::MAX] {
            let says = b_says(PADDING_B, &negotiation(selected, 0));
            let outcome = Outcome::from(initiator(offer).receive(&says, &mut BytesMut::new()));
            let refused = Outcome::Refuses(MseError::Selection { selected });
            let expected =
                if allowed.contains(&(offer, selected)) { Outcome::Done(Vec::new()) } else { refused };
            assert_eq!(outcome, expected, "{offer:?}, {selected:#x}");
        }
    }
}

#[test]
fn refuses_what_is_encrypted_for_another_torrent() {
    let (mut responder, mut out) = (responder(), BytesMut::new());
    let says = [&hex(KEY_A), PADDING_A, &hex(REQUEST)].concat();
    assert!(matches!(responder.receive(&says, &mut out), Ok(MseProgress::Torrent(_))));
    let result = responder.choose(InfoHash::new([b'g'; 20]), &mut out);
    assert_eq!(Outcome::from(result), Outcome::Refuses(MseError::Verification));
}

#[test]
fn refuses_a_choice_that_nobody_waits_for() {
    let (mut responder, mut out) = (responder(), BytesMut::new());
    let refused = Outcome::Refuses(MseError::OutOfTurn);
    assert_eq!(Outcome::from(responder.choose(INFO_HASH, &mut out)), refused);
    assert_eq!(Outcome::from(responder.receive(&hex(KEY_A), &mut out)), refused);
    assert!(out.is_empty());
}

#[test]
fn stays_failed_and_stays_done() {
    let (mut failed, mut out) = (initiator(MseOffer::RC4_ONLY), BytesMut::new());
    for bytes in [&[0; 96][..], &hex(KEY_B), b""] {
        let result = failed.receive(bytes, &mut out);
        assert_eq!(Outcome::from(result), Outcome::Refuses(MseError::PublicKey));
    }
    let mut done = initiator(MseOffer::RC4_ONLY);
    assert!(matches!(done.receive(&b_says(b"", &negotiation(2, 0)), &mut out), Ok(MseProgress::Done { .. })));
    let result = done.receive(b"more", &mut out);
    assert_eq!(Outcome::from(result), Outcome::Refuses(MseError::OutOfTurn));
}

/// A part of what an end says: its name, its length, and what may come of a changed byte.
type Part = (&'static str, usize, fn(&Outcome) -> bool);

/// Changes every byte, and looks whether what comes of it is what may.
fn check_changed_bytes(parts: &[Part], says: &[u8], hears: impl Fn(&[u8]) -> Outcome) {
    assert_eq!(parts.iter().map(|(_, len, _)| len).sum::<usize>(), says.len());
    let owners = parts.iter().flat_map(|part| std::iter::repeat_n(part, part.1));
    for (place, (name, _, allows)) in owners.enumerate() {
        for change in [0x01, 0x02, 0x80, 0xff] {
            let mut bytes = says.to_vec();
            bytes[place] ^= change;
            let outcome = hears(&bytes);
            assert!(allows(&outcome), "{name}, byte {place} xor {change:#x}: {outcome:?}");
        }
    }
}

/// As when nothing was changed.
fn passes(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(bytes) if *bytes == handshake() || bytes == b"pong")
}

fn waits_or_refuses(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Waits | Outcome::Refuses(_))
}

fn refuses_verification(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refuses(MseError::Verification)
}

#[test]
fn a_changed_byte_of_the_initiator_is_noticed_wherever_it_matters() {
    let says = [&hex(KEY_A), PADDING_A, &hex(REQUEST)].concat();
    let parts: &[Part] = &[
        ("Ya", 96, waits_or_refuses),
        ("PadA", 10, passes),
        ("HASH('req1', S)", 20, waits_or_refuses),
        ("HASH('req2', SKEY) xor HASH('req3', S)", 20, |outcome| *outcome == Outcome::AsksForAnother),
        ("VC", 8, refuses_verification),
        ("crypto_provide", 4, |outcome| {
            passes(outcome) || matches!(outcome, Outcome::Refuses(MseError::NothingInCommon { .. }))
        }),
        // A shorter one makes a length of what follows.
        ("len(PadC)", 2, |outcome| *outcome != Outcome::AsksForAnother),
        ("PadC", 5, passes),
        // A shorter one leaves the rest to the stream.
        ("len(IA)", 2, |outcome| passes(outcome) || waits_or_refuses(outcome)),
        ("IA", 68, |outcome| matches!(outcome, Outcome::Done(bytes) if *bytes != handshake())),
    ];
    check_changed_bytes(parts, &says, responder_hears);
}

#[test]
fn a_changed_byte_of_the_responder_is_noticed_wherever_it_matters() {
    let says = [&hex(KEY_B), PADDING_B, &hex(SELECT_RC4_PADDED)].concat();
    let parts: &[Part] = &[
        ("Yb", 96, waits_or_refuses),
        ("PadB", 15, passes),
        ("VC", 8, waits_or_refuses),
        ("crypto_select", 4, |outcome| matches!(outcome, Outcome::Refuses(MseError::Selection { .. }))),
        // A shorter one leaves padding to the stream.
        ("len(PadD)", 2, |outcome| !passes(outcome)),
        ("PadD", 12, passes),
        ("what follows", 4, |outcome| matches!(outcome, Outcome::Done(bytes) if bytes != b"pong")),
    ];
    check_changed_bytes(parts, &says, initiator_hears);
}

proptest! {
    #[test]
    fn survives_any_bytes_in_any_portions(
        begins_with_a_key: bool,
        bytes in vec(any::<u8>(), 0..1500),
        portion in 1_usize..700,
    ) {
        let key = if begins_with_a_key { hex(KEY_A) } else { Vec::new() };
        let bytes = [key, bytes].concat();
        let (mut responder, mut initiator) = (responder(), initiator(MseOffer::PLAINTEXT_OR_RC4));
        let mut out = BytesMut::new();
        for portion in bytes.chunks(portion) {
            prop_assert!(waits_or_refuses(&responder.receive(portion, &mut out).into()));
            prop_assert!(waits_or_refuses(&initiator.receive(portion, &mut out).into()));
        }
    }

    #[test]
    fn survives_anything_that_is_encrypted_properly(plain in vec(any::<u8>(), 0..100), verified: bool) {
        let plain = if verified { [&[0; 8][..], &plain].concat() } else { plain };
        let _ = responder_hears(&a_says(PADDING_A, &plain));
        let _ = initiator_hears(&b_says(PADDING_B, &plain));
    }
}
