//! Message stream encryption: two ends agree whatever they offer and however their bytes are cut, and each says
//! the bytes that another implementation says.

use bytes::BytesMut;
use distributor_proto::{
    InfoHash, MAX_INITIAL_LEN, MAX_MSE_PADDING, MseError, MseInitiator, MseOffer, MseProgress, MseResponder,
    MseStream, TorrentDigest, begins_in_the_clear,
};

use crate::{
    mse_script::{
        KEY_A, KEY_B, KEY_B_OF_SMALL_SHARED, PADDING_A, PADDING_B, PADDING_C, PING, PONG, REQUEST,
        SELECT_PLAINTEXT, SELECT_RC4, SELECT_RC4_PADDED, hex, secret,
    },
    support::{INFO_HASH, handshake},
};

/// An end's stream, and what it has got of the other's.
struct Agreed {
    stream: MseStream,
    received: Vec<u8>,
}

impl Agreed {
    fn of(progress: MseProgress) -> Option<Self> {
        match progress {
            MseProgress::Done { stream, received } => Some(Self { stream, received: received.to_vec() }),
            MseProgress::More | MseProgress::Torrent(_) => None,
        }
    }

    fn is_encrypted(&self) -> bool {
        matches!(self.stream, MseStream::Rc4(_))
    }

    fn says(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        if let MseStream::Rc4(pair) = &mut self.stream {
            pair.encrypt(&mut bytes);
        }
        bytes
    }

    fn hears(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let MseStream::Rc4(pair) = &mut self.stream {
            pair.decrypt(&mut bytes);
        }
        self.received.extend(bytes);
    }
}

/// A responder whose driver has one torrent.
struct Dialled(MseResponder);

impl Dialled {
    fn receive(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<MseProgress, MseError> {
        match self.0.receive(bytes, out)? {
            MseProgress::Torrent(digest) => {
                assert_eq!(digest, TorrentDigest::of(&INFO_HASH));
                self.0.choose(INFO_HASH, out)
            }
            progress => Ok(progress),
        }
    }
}

/// What two ends do, and chance.
struct Conversation<'a> {
    dials: MseOffer,
    answers: MseOffer,
    paddings: [&'a [u8]; 3],
    initial: &'a [u8],
    /// How many bytes arrive at a time.
    portion: usize,
}

impl Default for Conversation<'_> {
    fn default() -> Self {
        Self {
            dials: MseOffer::PLAINTEXT_OR_RC4,
            answers: MseOffer::RC4_OR_PLAINTEXT,
            paddings: [PADDING_A, PADDING_B, PADDING_C],
            initial: b"",
            portion: usize::MAX,
        }
    }
}

impl Conversation<'_> {
    /// Brings to each end what the other says until neither says more. First the initiator, then the responder.
    fn run(&self) -> Result<[Agreed; 2], MseError> {
        let [a, b, c] = self.paddings;
        let (mut to_b, mut to_a) = (BytesMut::new(), BytesMut::new());
        let mut initiator =
            MseInitiator::new(INFO_HASH, self.dials, secret(1), a, c, self.initial, &mut to_b);
        let mut responder = Dialled(MseResponder::new(self.answers, secret(101), b));
        let (mut agreed_a, mut agreed_b) = (None::<Agreed>, None::<Agreed>);
        while !(to_b.is_empty() && to_a.is_empty()) {
            let portion = to_b.split_to(self.portion.min(to_b.len()));
            match &mut agreed_b {
                None => agreed_b = Agreed::of(responder.receive(&portion, &mut to_a)?),
                Some(agreed) => agreed.hears(&portion),
            }
            let portion = to_a.split_to(self.portion.min(to_a.len()));
            match &mut agreed_a {
                None => agreed_a = Agreed::of(initiator.receive(&portion, &mut to_b)?),
                Some(agreed) => agreed.hears(&portion),
            }
        }
        Ok([agreed_a, agreed_b].map(|agreed| agreed.expect("an end is done when all is said")))
    }
}

#[test]
fn tells_bittorrent_in_the_clear_by_its_first_twenty_bytes() {
    let opening = &handshake()[..20];
    for len in 0..20 {
        assert_eq!(begins_in_the_clear(&opening[..len]), None);
        let mut other = opening.to_vec();
        other[len] ^= 1;
        for end in len + 1..=20 {
            assert_eq!(begins_in_the_clear(&other[..end]), Some(false));
        }
    }
    assert_eq!(begins_in_the_clear(opening), Some(true));
    assert_eq!(begins_in_the_clear(&handshake()), Some(true));
}

#[test]
fn the_responder_chooses_among_what_both_allow() {
    const PLAIN: MseOffer = MseOffer::PLAINTEXT_ONLY;
    const RC4: MseOffer = MseOffer::RC4_ONLY;
    const RATHER_PLAIN: MseOffer = MseOffer::PLAINTEXT_OR_RC4;
    const RATHER_RC4: MseOffer = MseOffer::RC4_OR_PLAINTEXT;
    let nothing = |provided| Err(MseError::NothingInCommon { provided });
    let (plain, rc4) = (Ok([false; 2]), Ok([true; 2]));
    let table = [
        (PLAIN, [plain, nothing(1), plain, plain]),
        (RC4, [nothing(2), rc4, rc4, rc4]),
        (RATHER_PLAIN, [plain, rc4, plain, rc4]),
        (RATHER_RC4, [plain, rc4, plain, rc4]),
    ];
    for (dials, row) in table {
        for (answers, expected) in [PLAIN, RC4, RATHER_PLAIN, RATHER_RC4].into_iter().zip(row) {
            let agreed = Conversation { dials, answers, ..Conversation::default() }.run();
            let encrypted = agreed.map(|ends| ends.map(|end| end.is_encrypted()));
            assert_eq!(encrypted, expected, "{dials:?} dials {answers:?}");
        }
    }
}

#[test]
fn talks_on_in_both_directions_whatever_the_paddings_and_the_portions() {
    let longest = &[b'p'; MAX_MSE_PADDING][..];
    for answers in [MseOffer::PLAINTEXT_ONLY, MseOffer::RC4_ONLY] {
        for paddings in [[&b""[..]; 3], [longest; 3], [PADDING_A, b"", longest]] {
            for initial in [&b""[..], &handshake()] {
                for portion in [1, 7, 97, usize::MAX] {
                    let conversation =
                        Conversation { answers, paddings, initial, portion, ..Conversation::default() };
                    let [mut a, mut b] = conversation.run().unwrap();
                    assert_eq!((&a.received[..], &b.received[..]), (&b""[..], initial));
                    b.hears(&a.says(b"ping"));
                    a.hears(&b.says(b"pong"));
                    b.hears(&a.says(b"again"));
                    assert_eq!(a.received, b"pong");
                    assert_eq!(b.received, [initial, b"pingagain"].concat());
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_into_the_initial_payload_follows_the_answer() {
    let initial: Vec<u8> = (0..MAX_INITIAL_LEN + 1000).map(|place| place as u8).collect();
    for answers in [MseOffer::PLAINTEXT_ONLY, MseOffer::RC4_ONLY] {
        for portion in [1000, usize::MAX] {
            let conversation =
                Conversation { answers, initial: &initial, portion, ..Conversation::default() };
            let [_, b] = conversation.run().unwrap();
            assert!(b.received == initial);
        }
    }
}

#[test]
fn sends_no_more_of_a_padding_than_is_allowed() {
    let long = &[b'p'; MAX_MSE_PADDING + 1][..];
    assert!(Conversation { paddings: [long; 3], ..Conversation::default() }.run().is_ok());
    let mut out = BytesMut::new();
    let _ = MseInitiator::new(INFO_HASH, MseOffer::RC4_ONLY, [1; 20], long, long, b"", &mut out);
    assert_eq!(out.len(), 96 + MAX_MSE_PADDING);
}

#[test]
fn the_initiator_says_what_another_implementation_says() {
    for (select, encrypted) in [(SELECT_PLAINTEXT, false), (SELECT_RC4, true)] {
        let (mut a, mut out) = golden_initiator();
        assert_eq!(out.split(), [&hex(KEY_A), PADDING_A].concat());
        assert!(matches!(a.receive(&hex(KEY_B), &mut out), Ok(MseProgress::More)));
        assert_eq!(out.split(), hex(REQUEST));
        assert!(matches!(a.receive(PADDING_B, &mut out), Ok(MseProgress::More)));
        let mut agreed = Agreed::of(a.receive(&hex(select), &mut out).unwrap()).unwrap();
        assert!(out.is_empty());
        assert_eq!(agreed.is_encrypted(), encrypted);
        assert_eq!(agreed.says(b"ping"), if encrypted { hex(PING) } else { b"ping".to_vec() });
        agreed.hears(&if encrypted { hex(PONG) } else { b"pong".to_vec() });
        assert_eq!(agreed.received, b"pong");
    }
}

#[test]
fn the_responder_says_what_another_implementation_says() {
    for (offer, select) in
        [(MseOffer::PLAINTEXT_OR_RC4, SELECT_PLAINTEXT), (MseOffer::RC4_OR_PLAINTEXT, SELECT_RC4)]
    {
        let (mut b, mut out) = (golden_responder(offer), BytesMut::new());
        assert!(matches!(b.receive(&hex(KEY_A), &mut out), Ok(MseProgress::More)));
        assert_eq!(out.split(), [&hex(KEY_B), PADDING_B].concat());
        let rest = [PADDING_A, &hex(REQUEST)].concat();
        let agreed = Agreed::of(b.receive(&rest, &mut out).unwrap()).unwrap();
        assert_eq!(out.split(), hex(select));
        assert_eq!(agreed.received, handshake());
    }
}

#[test]
fn the_initiator_takes_no_shared_secret_that_begins_with_a_zero() {
    let (mut a, mut out) = golden_initiator();
    out.clear();
    assert_eq!(a.receive(&hex(KEY_B_OF_SMALL_SHARED), &mut out).unwrap_err(), MseError::LeadingZero);
    assert!(out.is_empty());
}

#[test]
fn the_responder_hands_on_what_came_behind_the_initial_payload() {
    let says = [&hex(KEY_A), PADDING_A, &hex(REQUEST), &hex(PING)].concat();
    let (mut b, mut out) = (golden_responder(MseOffer::RC4_ONLY), BytesMut::new());
    let agreed = Agreed::of(b.receive(&says, &mut out).unwrap()).unwrap();
    assert_eq!(agreed.received, [&handshake()[..], b"ping"].concat());
}

#[test]
fn the_initiator_passes_over_a_last_padding_and_hands_on_what_came_behind_it() {
    let says = [&hex(KEY_B), PADDING_B, &hex(SELECT_RC4_PADDED)].concat();
    let (mut a, mut out) = golden_initiator();
    assert_eq!(Agreed::of(a.receive(&says, &mut out).unwrap()).unwrap().received, b"pong");
}

#[test]
fn every_cut_of_the_initiators_bytes_waits_and_comes_to_the_same() {
    let says = [&hex(KEY_A), PADDING_A, &hex(REQUEST)].concat();
    for cut in 0..says.len() {
        let (mut b, mut out) = (golden_responder(MseOffer::RC4_ONLY), BytesMut::new());
        assert!(matches!(b.receive(&says[..cut], &mut out), Ok(MseProgress::More)), "cut at {cut}");
        let agreed = Agreed::of(b.receive(&says[cut..], &mut out).unwrap()).unwrap();
        assert_eq!(agreed.received, handshake(), "cut at {cut}");
        assert_eq!(out, [&hex(KEY_B), PADDING_B, &hex(SELECT_RC4)].concat(), "cut at {cut}");
    }
}

#[test]
fn every_cut_of_the_responders_bytes_waits_and_comes_to_the_same() {
    let says = [&hex(KEY_B), PADDING_B, &hex(SELECT_RC4_PADDED)].concat();
    for cut in 0..says.len() {
        let (mut a, mut out) = golden_initiator();
        let agreed = match Agreed::of(a.receive(&says[..cut], &mut out).unwrap()) {
            Some(mut agreed) => {
                assert!(says.len() - cut <= b"pong".len(), "cut at {cut}");
                agreed.hears(&says[cut..]);
                agreed
            }
            None => Agreed::of(a.receive(&says[cut..], &mut out).unwrap()).unwrap(),
        };
        assert_eq!(agreed.received, b"pong", "cut at {cut}");
        assert_eq!(out, [&hex(KEY_A), PADDING_A, &hex(REQUEST)].concat(), "cut at {cut}");
    }
}

#[test]
fn digests_differ_as_info_hashes_do() {
    let digest = TorrentDigest::of(&INFO_HASH);
    assert_eq!(format!("{digest:?}"), "febc124c562f3f489704a904e1cfd0a6d998e566");
    assert_ne!(digest, TorrentDigest::of(&InfoHash::new([b'g'; 20])));
}

fn golden_initiator() -> (MseInitiator, BytesMut) {
    let mut out = BytesMut::new();
    let offer = MseOffer::PLAINTEXT_OR_RC4;
    let initiator =
        MseInitiator::new(INFO_HASH, offer, secret(1), PADDING_A, PADDING_C, &handshake(), &mut out);
    (initiator, out)
}

fn golden_responder(offer: MseOffer) -> Dialled {
    Dialled(MseResponder::new(offer, secret(101), PADDING_B))
}
