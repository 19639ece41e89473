//! Encrypted handshakes in any portions: both ends on any bytes, with a peer that knows the keys, and with each other
//! while somebody between them changes bytes.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use distributor_proto::{
    InfoHash, MSE_SECRET_LEN, MseError, MseInitiator, MseOffer, MseProgress, MseResponder, MseStream,
    TorrentDigest, begins_in_the_clear,
};
use libfuzzer_sys::fuzz_target;
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};

#[derive(Arbitrary, Debug)]
struct Case {
    dials: Offer,
    answers: Offer,
    /// In how many bytes at a time each end hears, over and over.
    portions: Vec<u8>,
    heard: Heard,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Offer {
    PlaintextOnly,
    Rc4Only,
    PlaintextOrRc4,
    Rc4OrPlaintext,
}

#[derive(Arbitrary, Debug)]
enum Heard {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A peer that knows the keys, and encrypts what it likes; mostly behind VC, the bits of what it provides or
    /// selects, and the length of a padding.
    Encrypted { padding: Vec<u8>, negotiation: Option<(u8, u8)>, rest: Vec<u8> },
    /// Each other.
    Pair { paddings: [u16; 3], initial_len: u16, changes: Vec<Change> },
}

/// Somebody between the ends changes a byte.
#[derive(Arbitrary, Debug)]
struct Change {
    of_initiator: bool,
    place: u16,
    xor: u8,
}

const INFO_HASH: InfoHash = InfoHash::new([b'h'; 20]);

/// The generator as a public key: the secret behind it is 1, so S is the other side's public key.
const KEY: [u8; 96] = {
    let mut key = [0; 96];
    key[95] = 2;
    key
};

fuzz_target!(|case: Case| match &case.heard {
    Heard::Bytes(bytes) => {
        let _ = begins_in_the_clear(bytes);
        End::initiator(&case, &[], &[], &[]).hear(bytes, &case);
        End::responder(&case, &[]).hear(bytes, &case);
    }
    Heard::Encrypted { padding, negotiation, rest } => {
        let negotiation = negotiation.map(|(bits, len)| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bits, 0, len]);
        let plain = [negotiation.as_slice().as_flattened(), rest].concat();

        let mut initiator = End::initiator(&case, &[], &[], &[]);
        let shared = initiator.says.to_vec();
        initiator.hear(&[&KEY, &padding[..], &encrypted(b"keyB", &shared, &plain)].concat(), &case);

        let mut responder = End::responder(&case, &[]);
        responder.hear(&KEY, &case);
        let shared = responder.says.to_vec();
        let hidden = hash(b"req2", &[INFO_HASH.as_bytes()]).into_iter().zip(hash(b"req3", &[&shared]));
        let hidden: Vec<u8> = hidden.map(|(byte, mask)| byte ^ mask).collect();
        let request =
            [&hash(b"req1", &[&shared])[..], &hidden, &encrypted(b"keyA", &shared, &plain)].concat();
        responder.hear(&[&padding[..], &request].concat(), &case);
    }
    Heard::Pair { paddings, initial_len, changes } => converse(&case, *paddings, *initial_len, changes),
});

fn converse(case: &Case, paddings: [u16; 3], initial_len: u16, changes: &[Change]) {
    let [a, b, c] = paddings.map(|len| vec![b'p'; usize::from(len)]);
    let initial: Vec<u8> = (0..initial_len).map(|place| place as u8).collect();
    let mut initiator = End::initiator(case, &a, &c, &initial);
    let mut responder = End::responder(case, &b);
    let mut said = [0, 0];
    loop {
        let mut from_initiator = initiator.says.split();
        let mut from_responder = responder.says.split();
        if from_initiator.is_empty() && from_responder.is_empty() {
            break;
        }
        for change in changes {
            let (bytes, said) = match change.of_initiator {
                true => (&mut from_initiator, said[0]),
                false => (&mut from_responder, said[1]),
            };
            let place = usize::from(change.place).checked_sub(said);
            if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
                *byte ^= change.xor;
            }
        }
        said = [said[0] + from_initiator.len(), said[1] + from_responder.len()];
        responder.hear(&from_initiator, case);
        initiator.hear(&from_responder, case);
    }
    if changes.iter().all(|change| change.xor == 0) {
        match (initiator.outcome, responder.outcome) {
            (Some(Ok(a)), Some(Ok(b))) => {
                assert_eq!(a.encrypted(), b.encrypted());
                assert!(a.received.is_empty());
                assert_eq!(b.received, initial);
            }
            (None, Some(Err(MseError::NothingInCommon { .. }))) => {}
            outcomes => panic!("two honest ends come to {outcomes:?}"),
        }
    }
}

#[derive(Debug)]
struct Agreed {
    stream: MseStream,
    received: Vec<u8>,
}

impl Agreed {
    fn encrypted(&self) -> bool {
        matches!(self.stream, MseStream::Rc4(_))
    }
}

enum Handshake {
    Initiator(MseInitiator),
    Responder(MseResponder),
}

/// One side, what it has said that nobody has heard yet, and what it came to.
struct End {
    handshake: Handshake,
    says: BytesMut,
    outcome: Option<Result<Agreed, MseError>>,
}

impl End {
    fn initiator(case: &Case, padding_a: &[u8], padding_c: &[u8], initial: &[u8]) -> Self {
        let mut says = BytesMut::new();
        let offer = case.dials.into();
        let secret = [1; MSE_SECRET_LEN];
        let initiator = MseInitiator::new(INFO_HASH, offer, secret, padding_a, padding_c, initial, &mut says);
        Self { handshake: Handshake::Initiator(initiator), says, outcome: None }
    }

    fn responder(case: &Case, padding: &[u8]) -> Self {
        let responder = MseResponder::new(case.answers.into(), [2; MSE_SECRET_LEN], padding);
        Self { handshake: Handshake::Responder(responder), says: BytesMut::new(), outcome: None }
    }

    fn hear(&mut self, mut bytes: &[u8], case: &Case) {
        let mut portions = case.portions.iter().map(|&len| usize::from(len) + 1).cycle();
        while !bytes.is_empty() {
            let len = portions.next().unwrap_or(usize::MAX).min(bytes.len());
            let (portion, rest) = bytes.split_at(len);
            self.hear_portion(portion);
            bytes = rest;
        }
    }

    fn hear_portion(&mut self, portion: &[u8]) {
        match &mut self.outcome {
            None => {
                self.outcome = match self.progress(portion) {
                    Ok(MseProgress::Done { stream, received }) => {
                        Some(Ok(Agreed { stream, received: received.to_vec() }))
                    }
                    Ok(MseProgress::More | MseProgress::Torrent(_)) => None,
                    Err(error) => Some(Err(error)),
                };
            }
            Some(Ok(agreed)) => {
                let mut bytes = portion.to_vec();
                if let MseStream::Rc4(pair) = &mut agreed.stream {
                    pair.decrypt(&mut bytes);
                }
                agreed.received.extend(bytes);
            }
            Some(Err(error)) => {
                let (error, said) = (*error, self.says.len());
                assert!(
                    self.progress(portion).is_err_and(|again| again == error),
                    "a failed handshake stays failed"
                );
                assert_eq!(self.says.len(), said, "a failed handshake says nothing");
            }
        }
    }

    fn progress(&mut self, bytes: &[u8]) -> Result<MseProgress, MseError> {
        match &mut self.handshake {
            Handshake::Initiator(initiator) => initiator.receive(bytes, &mut self.says),
            Handshake::Responder(responder) => match responder.receive(bytes, &mut self.says)? {
                MseProgress::Torrent(digest) if digest == TorrentDigest::of(&INFO_HASH) => {
                    responder.choose(INFO_HASH, &mut self.says)
                }
                progress => Ok(progress),
            },
        }
    }
}

impl From<Offer> for MseOffer {
    fn from(offer: Offer) -> Self {
        match offer {
            Offer::PlaintextOnly => Self::PLAINTEXT_ONLY,
            Offer::Rc4Only => Self::RC4_ONLY,
            Offer::PlaintextOrRc4 => Self::PLAINTEXT_OR_RC4,
            Offer::Rc4OrPlaintext => Self::RC4_OR_PLAINTEXT,
        }
    }
}

fn encrypted(label: &[u8; 4], shared: &[u8], plain: &[u8]) -> Vec<u8> {
    let key = hash(label, &[shared, INFO_HASH.as_bytes()]);
    let mut bytes = [&[0; 1024], plain].concat();
    Rc4::new_from_slice(&key).expect("RC4 takes keys of 20 bytes").apply_keystream(&mut bytes);
    bytes.split_off(1024)
}

fn hash(label: &[u8; 4], parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest([&label[..], &parts.concat()].concat()).into()
}
