//! How many peers a torrent has, without announcing to it (BEP 48).
//!
//! Owns the query and the answer. Refuses scrapes for more torrents than the UDP protocol allows; whether a
//! scrape that names none gets everything or nothing is the tracker's choice.

use crate::{
    announce::{AnnounceError, parse_info_hash},
    bencode::{put_bytes, put_number_pair},
    id::InfoHash,
    query::pairs,
};

/// The most torrents in one scrape: what BEP 15 allows over UDP, so that both ways have one limit.
pub const MAX_SCRAPE: usize = 74;

/// The numbers of one torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScrapeStats {
    /// How many peers have the whole file now.
    pub complete: u32,
    /// How many have ever said that they got it.
    pub downloaded: u32,
    /// How many are on their way now.
    pub incomplete: u32,
}

/// The torrents that a scrape's query string asks for, as often as they are in it; none where it names none.
///
/// # Errors
///
/// When the query is malformed, an `info_hash` isn't 20 bytes, or there are more than [`MAX_SCRAPE`].
pub fn parse_scrape(query: &[u8]) -> Result<Vec<InfoHash>, AnnounceError> {
    let mut hashes = Vec::new();
    for pair in pairs(query) {
        let (name, value) = pair?;
        if *name != *b"info_hash" {
            continue;
        }
        if hashes.len() == MAX_SCRAPE {
            return Err(AnnounceError::TooManyHashes);
        }
        hashes.push(parse_info_hash(&value)?);
    }
    Ok(hashes)
}

/// The bencoded answer: `files`, a dictionary by raw info hash. Of torrents given twice the first counts.
#[must_use]
pub fn encode_scrape(files: &[(InfoHash, ScrapeStats)]) -> Vec<u8> {
    let mut files = files.to_vec();
    files.sort_by_key(|(hash, _)| *hash);
    files.dedup_by_key(|(hash, _)| *hash);

    let mut out = Vec::with_capacity(16 + files.len() * 80);
    out.push(b'd');
    put_bytes(&mut out, b"files");
    out.push(b'd');
    for (hash, stats) in &files {
        put_bytes(&mut out, hash.as_bytes());
        out.push(b'd');
        put_number_pair(&mut out, "complete", stats.complete);
        put_number_pair(&mut out, "downloaded", stats.downloaded);
        put_number_pair(&mut out, "incomplete", stats.incomplete);
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
    out
}
