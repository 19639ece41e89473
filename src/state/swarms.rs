//! Who was in which swarm, as it is remembered, and that as bytes. Owns the format; who is to be remembered, and for
//! how long, is the tracker's.
//!
//! ```text
//! version 1 | downloads 4 | peers: kind 1, address 6 or 18, id 20, key 4, expiry 8 | check 8
//! ```
//!
//! Numbers are little-endian, ports big-endian as in compact lists (BEP 23, 7). The check is the beginning of the
//! SHA-1 of the key and all that goes before, as that of files is. A page that it doesn't fit, or of another version,
//! is none: its peers are back when they announce themselves again.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use distributor_proto::{InfoHash, PeerId};
use sha1::{Digest, Sha1};

use super::file::SwarmKey;

const VERSION: u8 = 1;
const CHECK_LEN: usize = 8;
/// Bits of a peer's kind.
const SEED: u8 = 1;
const V6: u8 = 2;

/// Some peers of a swarm: what is written at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwarmPage {
    pub(crate) info_hash: InfoHash,
    /// Which of the swarm's; the page of this number before is no more.
    pub(crate) number: u32,
    /// How often the torrent was downloaded, in one of its pages; 0 in the others.
    pub(crate) downloads: u32,
    pub(crate) peers: Vec<SavedPeer>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavedPeer {
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    /// The digest of what it shows to be known again; 0 for nothing.
    pub(crate) key: u32,
    pub(crate) is_seed: bool,
    /// When it counts as gone, in seconds since 1970.
    pub(crate) expires: u64,
}

impl SwarmPage {
    pub(super) fn key(&self) -> SwarmKey {
        let mut key = SwarmKey::default();
        let (info_hash, number) = key.split_at_mut(InfoHash::LEN);
        info_hash.copy_from_slice(self.info_hash.as_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// Nothing for a page without contents, which needn't be there.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        if self.peers.is_empty() && self.downloads == 0 {
            return None;
        }
        let mut out = Vec::with_capacity(16 + 51 * self.peers.len());
        out.push(VERSION);
        out.extend(self.downloads.to_le_bytes());
        for peer in &self.peers {
            out.push(if peer.is_seed { SEED } else { 0 } | if peer.addr.is_ipv6() { V6 } else { 0 });
            match peer.addr {
                SocketAddr::V4(addr) => out.extend(addr.ip().octets()),
                SocketAddr::V6(addr) => out.extend(addr.ip().octets()),
            }
            out.extend(peer.addr.port().to_be_bytes());
            out.extend(peer.id.as_bytes());
            out.extend(peer.key.to_le_bytes());
            out.extend(peer.expires.to_le_bytes());
        }
        out.extend(check(&self.key(), &out));
        Some(out)
    }

    /// The page of a key, with nothing in it where the bytes are not what [`Self::encode`] made for it; and whether
    /// they are.
    pub(super) fn decode(key: &SwarmKey, bytes: &[u8]) -> (Self, bool) {
        let [info_hash @ .., a, b, c, d] = *key;
        let (info_hash, number) = (InfoHash::new(info_hash), u32::from_be_bytes([a, b, c, d]));
        let contents = contents(key, bytes);
        let is_sound = contents.is_some();
        let (downloads, peers) = contents.unwrap_or_default();
        (Self { info_hash, number, downloads, peers }, is_sound)
    }
}

fn contents(key: &SwarmKey, bytes: &[u8]) -> Option<(u32, Vec<SavedPeer>)> {
    let (body, sum) = bytes.split_last_chunk::<CHECK_LEN>()?;
    if *sum != check(key, body) {
        return None;
    }
    let ([VERSION], mut rest) = body.split_first_chunk()? else { return None };
    let downloads = u32::from_le_bytes(take(&mut rest)?);
    let mut peers = Vec::new();
    while !rest.is_empty() {
        let [kind] = take(&mut rest)?;
        if kind & !(SEED | V6) != 0 {
            return None;
        }
        let ip = if kind & V6 == 0 {
            Ipv4Addr::from(take::<4>(&mut rest)?).into()
        } else {
            Ipv6Addr::from(take::<16>(&mut rest)?).into()
        };
        peers.push(SavedPeer {
            addr: SocketAddr::new(ip, u16::from_be_bytes(take(&mut rest)?)),
            id: PeerId::new(take(&mut rest)?),
            key: u32::from_le_bytes(take(&mut rest)?),
            is_seed: kind & SEED != 0,
            expires: u64::from_le_bytes(take(&mut rest)?),
        });
    }
    Some((downloads, peers))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn check(key: &SwarmKey, body: &[u8]) -> [u8; CHECK_LEN] {
    let digest: [u8; 20] = Sha1::new().chain_update(key).chain_update(body).finalize().into();
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&digest[..CHECK_LEN]);
    check
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn page(number: u32, port: u16) -> SwarmPage {
        let peer = |addr: &str, is_seed| SavedPeer {
            addr: SocketAddr::new(addr.parse().unwrap(), port),
            id: PeerId::new([7; 20]),
            key: 0x0102_0304,
            is_seed,
            expires: 1_700_000_000,
        };
        let peers = vec![peer("10.1.2.3", false), peer("2001:db8::5", true)];
        SwarmPage { info_hash: InfoHash::new([3; 20]), number, downloads: 5, peers }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let page = page(70_000, 6881);
        assert_eq!(SwarmPage::decode(&page.key(), &page.encode().unwrap()), (page, true));
    }

    #[test]
    fn a_page_without_contents_is_none() {
        let empty = SwarmPage { peers: Vec::new(), downloads: 0, ..page(1, 1) };
        assert_eq!(empty.encode(), None);
        assert!(SwarmPage { downloads: 1, ..empty }.encode().is_some());
    }

    #[test]
    fn takes_nothing_from_what_was_cut_short_or_changed_or_is_of_another_version() {
        let whole = page(1, 6881);
        let bytes = whole.encode().unwrap();
        let nothing = SwarmPage { peers: Vec::new(), downloads: 0, ..whole.clone() };
        for len in 0..bytes.len() {
            assert_eq!(SwarmPage::decode(&whole.key(), &bytes[..len]), (nothing.clone(), false));
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(SwarmPage::decode(&whole.key(), &changed), (nothing.clone(), false));
        }
        assert!(!SwarmPage::decode(&page(2, 6881).key(), &bytes).1, "it is another page's");
        // A check that fits makes no page.
        let sealed = |body: &[u8]| [body, &check(&whole.key(), body)].concat();
        let body = &bytes[..bytes.len() - CHECK_LEN];
        let mut newer = body.to_vec();
        newer[0] = VERSION + 1;
        let mut strange = body.to_vec();
        strange[5] = 4;
        for body in [&newer[..], &strange, &body[..body.len() - 1], &[body, b"x"].concat()] {
            assert!(!SwarmPage::decode(&whole.key(), &sealed(body)).1);
        }
        assert!(SwarmPage::decode(&whole.key(), &sealed(body)).1);
    }
}
