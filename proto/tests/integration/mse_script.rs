//! A conversation recorded from another implementation (Python's integers and hashlib, RC4 by hand), and a peer
//! that says what it likes in its name.
//!
//! The initiator's secret is 1, 2 … 20, the responder's 101, 102 … 120. SKEY is [`INFO_HASH`], IA is
//! [`handshake`](crate::support::handshake).

use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};

use crate::support::INFO_HASH;

pub(crate) const PADDING_A: &[u8] = b"PadA------";
pub(crate) const PADDING_B: &[u8] = b"PadB-----------";
pub(crate) const PADDING_C: &[u8] = b"PadC-";

/// Ya.
pub(crate) const KEY_A: &str = "\
    96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556b0918db2b4c658e02a87f7e5fb14b18a \
    553e084cbf3dad2d30f16596ccb982d406258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693";

/// Yb.
pub(crate) const KEY_B: &str = "\
    d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9ddc4b684e3eb34030b8dba4e028b7cff3 \
    264020340cb4eab61923cdc4e4216ba873368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e";

/// S.
pub(crate) const SHARED: &str = "\
    d05ed96a95215a89b44073afe5d0b1626289ac01cff7849392948b2470b346547e944d7562a897ae86976bc389999083 \
    ec09572dbdc8ed7f6a0a86a1aa42a3ca04209b72d8239890360435640643b76479ed7836f1857963fcc7cb72084c3ab4";

/// Another Yb, of which comes an S that begins with a zero.
pub(crate) const KEY_B_OF_SMALL_SHARED: &str = "\
    8f2a385b665cb16eff6671a4d2838d055902b769c8891fed586129cb93bdd9824eefbda9f736cc54d2a53a618fea4d0c \
    cc38c0b2a1d13abfb0a5165ce032839de851680465f52a45a31df065f6e65314fd965da3ab6004d678c200cb559df234";

/// What A says after its key and padding, crypto_provide being 3.
pub(crate) const REQUEST: &str = "\
    78fffb0f23055a793ff7609f359e04e383ec3505c5fb07633f71cf90462f40ff46324234f637a08ebe6b04378c45c6de \
    44e71dfdafc37456f5390ab387ed2753c9de27e109d81a6868cb8c42d20086d5afe64afbc651bf2c8febac3bc4f42a85 \
    4f77682c59d1ac46e2b83911ad4669faff87af038ec890670931252a701d05fc9f";

/// What B answers when it selects plaintext.
pub(crate) const SELECT_PLAINTEXT: &str = "\
    39be7f27821a8f301aa929198357";

/// What B answers when it selects RC4.
pub(crate) const SELECT_RC4: &str = "\
    39be7f27821a8f301aa9291a8357";

/// The same with a PadD, and "pong" behind it.
pub(crate) const SELECT_RC4_PADDED: &str = "\
    39be7f27821a8f301aa9291a835b6924239e07e6a9ee6657ad49e456a169";

/// "ping" as A's next bytes after [`REQUEST`].
pub(crate) const PING: &str = "f5387c81";

/// "pong" as B's next bytes after [`SELECT_RC4`].
pub(crate) const PONG: &str = "492a29bd";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The secret that the vectors were recorded with, from 1 or from 101 on.
pub(crate) fn secret(first: u8) -> [u8; 20] {
    std::array::from_fn(|place| first + place as u8)
}

/// All that A says, with any padding and whatever it likes to encrypt.
pub(crate) fn a_says(padding: &[u8], plain: &[u8]) -> Vec<u8> {
    let hidden = hash(b"req2", &[INFO_HASH.as_bytes()]);
    let mask = hash(b"req3", &[&hex(SHARED)]);
    let hidden: Vec<u8> = hidden.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    [&hex(KEY_A), padding, &hash(b"req1", &[&hex(SHARED)]), &hidden, &encrypted(b"keyA", plain)].concat()
}

/// All that B says, with any padding and whatever it likes to encrypt.
pub(crate) fn b_says(padding: &[u8], plain: &[u8]) -> Vec<u8> {
    [&hex(KEY_B), padding, &encrypted(b"keyB", plain)].concat()
}

/// VC, crypto_provide or crypto_select, and a padding of this length.
pub(crate) fn negotiation(bits: u32, padding: u16) -> Vec<u8> {
    let padding_bytes = vec![0; usize::from(padding)];
    [&[0; 8][..], &bits.to_be_bytes(), &padding.to_be_bytes(), &padding_bytes].concat()
}

/// Bytes with their length in front.
pub(crate) fn with_len(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn encrypted(label: &[u8; 4], plain: &[u8]) -> Vec<u8> {
    let key = hash(label, &[&hex(SHARED), INFO_HASH.as_bytes()]);
    let mut bytes = [&[0; 1024], plain].concat();
    Rc4::new_from_slice(&key).unwrap().apply_keystream(&mut bytes);
    bytes.split_off(1024)
}

fn hash(label: &[u8; 4], parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest([&label[..], &parts.concat()].concat()).into()
}
