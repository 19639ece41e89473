//! Message stream encryption as an initiator needs it, honest or hostile, written against the specification alone. Its
//! secret exponent is 1: its public key is then the generator, 2, and the common secret is the other side's public key,
//! so that there is nothing to compute.

use std::io::{self, Read, Write};

use sha1::{Digest, Sha1};

/// Bytes of a public key.
pub(crate) const KEY_LEN: usize = 96;
/// crypto_provide of one that takes RC4 and nothing else.
pub(crate) const RC4: u32 = 2;
/// The most bytes of a padding.
const MAX_PADDING: usize = 512;

/// A public key that is a small number.
pub(crate) fn small_key(number: u8) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[KEY_LEN - 1] = number;
    key
}

/// A public key that is the prime less a small number.
pub(crate) fn key_below_prime(less: u8) -> [u8; KEY_LEN] {
    let hexadecimal = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
                       020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
                       4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563";
    let mut key = [0; KEY_LEN];
    for (byte, digits) in key.iter_mut().zip(hexadecimal.as_bytes().chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).expect("it is hexadecimal") as u8;
        *byte = digit(digits[0]) << 4 | digit(digits[1]);
    }
    key[KEY_LEN - 1] -= less;
    key
}

/// What the initiator says once it has the responder's key, and everything in it that can be a lie.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) info_hash: [u8; 20],
    pub(crate) verification: [u8; 8],
    pub(crate) provide: u32,
    pub(crate) padding_len: u16,
    pub(crate) initial_len: u16,
    pub(crate) initial: Vec<u8>,
}

impl Offer {
    pub(crate) fn honest(info_hash: [u8; 20], initial: &[u8]) -> Self {
        let initial_len = u16::try_from(initial.len()).expect("it is short");
        let initial = initial.to_vec();
        Self { info_hash, verification: [0; 8], provide: RC4, padding_len: 0, initial_len, initial }
    }

    /// Its bytes, and the cipher of what follows them.
    pub(crate) fn encode(&self, secret: &[u8; KEY_LEN]) -> (Vec<u8>, Cipher) {
        let synchronisation = hash(b"req1", &[secret]);
        let mask = hash(b"req3", &[secret]);
        let torrent = hash(b"req2", &[&self.info_hash]);
        let hidden: Vec<u8> = torrent.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        let mut encrypted = [
            &self.verification[..],
            &self.provide.to_be_bytes(),
            &self.padding_len.to_be_bytes(),
            &vec![0; usize::from(self.padding_len).min(MAX_PADDING)],
            &self.initial_len.to_be_bytes(),
            &self.initial,
        ]
        .concat();
        let mut cipher = Cipher::new(b"keyA", secret, &self.info_hash);
        cipher.apply(&mut encrypted);
        ([&synchronisation[..], &hidden, &encrypted].concat(), cipher)
    }
}

/// Sends our key and takes the other's.
pub(crate) fn exchange_keys(stream: &mut (impl Read + Write)) -> io::Result<[u8; KEY_LEN]> {
    stream.write_all(&small_key(2))?;
    let mut secret = [0; KEY_LEN];
    stream.read_exact(&mut secret)?;
    Ok(secret)
}

/// An honest handshake whose answer is not read; the cipher of what we send after it.
pub(crate) fn dial(
    stream: &mut (impl Read + Write),
    info_hash: [u8; 20],
    initial: &[u8],
) -> io::Result<Cipher> {
    let secret = exchange_keys(stream)?;
    let (offer, cipher) = Offer::honest(info_hash, initial).encode(&secret);
    stream.write_all(&offer)?;
    Ok(cipher)
}

/// Takes the answer to an honest offer, which selects RC4; the cipher of what comes after it.
pub(crate) fn take_answer(
    stream: &mut impl Read,
    info_hash: [u8; 20],
    secret: &[u8; KEY_LEN],
) -> io::Result<Cipher> {
    let mut cipher = Cipher::new(b"keyB", secret, &info_hash);
    let mut verification = [0; 8];
    cipher.apply(&mut verification);
    let mut skipped = Vec::new();
    while !skipped.ends_with(&verification) {
        assert!(skipped.len() < MAX_PADDING + verification.len(), "the padding has no end");
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        skipped.extend(byte);
    }
    let mut selection = [0; 6];
    stream.read_exact(&mut selection)?;
    cipher.apply(&mut selection);
    let [method @ .., high, low] = selection;
    assert_eq!(u32::from_be_bytes(method), RC4, "crypto_select");
    let mut padding = vec![0; u16::from_be_bytes([high, low]).into()];
    stream.read_exact(&mut padding)?;
    cipher.apply(&mut padding);
    Ok(cipher)
}

fn hash(label: &[u8; 4], parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest([label, &parts.concat()[..]].concat()).into()
}

/// RC4 with the first 1,024 bytes of its key stream thrown away.
pub(crate) struct Cipher {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Cipher {
    fn new(label: &[u8; 4], secret: &[u8; KEY_LEN], info_hash: &[u8; 20]) -> Self {
        let key = hash(label, &[secret, info_hash]);
        let mut state: [u8; 256] = std::array::from_fn(|n| n as u8);
        let mut j = 0_u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        let mut cipher = Self { state, i: 0, j: 0 };
        cipher.apply(&mut [0; 1024]);
        cipher
    }

    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let [i, j] = [self.i, self.j.wrapping_add(self.state[usize::from(self.i)])].map(usize::from);
            self.j = j as u8;
            self.state.swap(i, j);
            *byte ^= self.state[usize::from(self.state[i].wrapping_add(self.state[j]))];
        }
    }
}
