//! `/api/v1/torrents`, `/api/v1/peers` and `/api/v1/pieces`: what is served, to whom and since when, in pages, so that a
//! hundred thousand torrents are neither one answer nor one long hold of what everybody needs.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use distributor_proto::{InfoHash, PeerId, pairs, percent_encode};
use serde_json::{Value, json};

use super::Http;
use super::json::json_response;
use super::refusal::Refusal;
use crate::catalog::{RequestedPath, Torrent};
use crate::racks::Manner;
use crate::traffic::{FirstSent, Flow, Peer};

/// How many entries a page has if nothing else is asked for, and at most.
const MAX_PAGE: usize = 1000;

/// The torrents that are offered, in the order of their names.
pub(super) async fn torrents(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Refusal> {
    let query = Query::read(&uri)?;
    let after = query.after.as_deref().map(RequestedPath::new).transpose()?;
    let after = after.and_then(|path| http.catalog.places(&path).next());
    let torrents = http.catalog.page(after.as_ref(), query.limit);
    let next = torrents.last().filter(|_| torrents.len() == query.limit).map(|last| {
        let name = http.catalog.exact_name(&last.file().at);
        let after = percent_encode(name.as_os_str().as_bytes());
        format!("/api/v1/torrents?limit={}&after={after}", query.limit)
    });
    let flows = http.traffic.flows();
    let flow = |torrent: &Torrent| flows.get(&torrent.info_hash()).copied().unwrap_or_default();
    let torrents: Vec<Value> = torrents.iter().map(|torrent| http.describe(torrent, flow(torrent))).collect();
    Ok(json_response(&json!({ "torrents": torrents, "next": next })))
}

/// The peers that are connected, of one torrent or of all, in the order in which they came.
pub(super) async fn peers(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Refusal> {
    let query = Query::read(&uri)?;
    let from = query.number_after()?.map_or(0, |after| after.saturating_add(1));
    let peers = http.traffic.peers_from(from, query.info_hash.as_ref(), query.limit);
    let next = peers.last().filter(|_| peers.len() == query.limit).map(|(last, _)| {
        let torrent = query.info_hash.map(|info_hash| format!("info_hash={info_hash}&")).unwrap_or_default();
        format!("/api/v1/peers?{torrent}limit={}&after={last}", query.limit)
    });
    let peers: Vec<Value> = peers.iter().map(|(_, peer)| http.describe_peer(peer)).collect();
    Ok(json_response(&json!({ "peers": peers, "next": next })))
}

/// The pieces of a torrent, in their order: none where nobody is connected for it.
pub(super) async fn pieces(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Refusal> {
    let query = Query::read(&uri)?;
    let info_hash = query.info_hash.ok_or_else(|| wrong("info_hash", b"", HASH))?;
    let from = query.number_after()?.map_or(0, |after| after.saturating_add(1));
    let first_sent = http.traffic.tally(&info_hash).and_then(|tally| tally.first_sent());
    let page = |first_sent: Arc<FirstSent>| {
        first_sent.page(usize::try_from(from).unwrap_or(usize::MAX), query.limit).collect::<Vec<_>>()
    };
    let pieces = first_sent.map(page).unwrap_or_default();
    let next = pieces
        .last()
        .filter(|_| pieces.len() == query.limit)
        .map(|(last, _)| format!("/api/v1/pieces?info_hash={info_hash}&limit={}&after={last}", query.limit));
    let pieces: Vec<Value> = pieces
        .into_iter()
        .map(|(piece, millis)| json!({ "piece": piece, "first_sent": millis.map(seconds) }))
        .collect();
    Ok(json_response(&json!({ "pieces": pieces, "next": next })))
}

/// Of so many milliseconds.
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

impl Http {
    fn describe(&self, torrent: &Torrent, flow: Flow) -> Value {
        let (info_hash, geometry) = (torrent.info_hash(), torrent.geometry());
        let swarm = self.announces.tracker.scrape(&info_hash);
        let tally = self.traffic.tally(&info_hash).unwrap_or_default();
        let size = geometry.total_len();
        json!({
            "name": self.catalog.exact_name(&torrent.file().at).to_string_lossy(),
            "info_hash": info_hash.to_string(),
            "size": size,
            "pieces": geometry.piece_count(),
            "seeders": swarm.complete,
            "leechers": swarm.incomplete,
            "peers": tally.connections(),
            "requests": flow.requests,
            "uploaded": tally.uploaded(),
            "rate": flow.rate,
            "copies": tally.uploaded() as f64 / size.max(1) as f64,
            "pieces_sent": tally.pieces_sent(),
            "showing": self.racks.manner_of(&info_hash) == Some(Manner::Showing),
            "last_first_sent": tally.last_first_sent().map(seconds),
        })
    }

    fn describe_peer(&self, peer: &Peer) -> Value {
        let Peer { about, counters } = peer;
        let (place, is_gateway) = self.racks.standing_of(&about.info_hash, about.addr.ip(), &about.peer_id);
        json!({
            "address": about.addr.to_string(),
            "info_hash": about.info_hash.to_string(),
            "peer_id": printable(&about.peer_id),
            "place": place,
            "gateway": is_gateway,
            "since": about.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            "dialled": about.dialled,
            "encrypted": about.encrypted,
            "interested": counters.is_interested(),
            "unchoked": counters.is_unchoked(),
            "pieces": counters.have(),
            "shown": counters.shown(),
            "requests": counters.requests(),
            "uploaded": counters.uploaded(),
            "rate": counters.rate(),
        })
    }
}

/// The client's name stands in front, in ASCII; what follows may be anything.
fn printable(peer_id: &PeerId) -> String {
    peer_id
        .as_bytes()
        .iter()
        .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' })
        .collect()
}

#[derive(Debug)]
pub(super) struct Query {
    pub(super) after: Option<Vec<u8>>,
    pub(super) info_hash: Option<InfoHash>,
    pub(super) limit: usize,
}

const NUMBER: &str = "write a number";
const HASH: &str = "write 40 hexadecimal digits";

impl Query {
    pub(super) fn read(uri: &Uri) -> Result<Self, Refusal> {
        let mut query = Self { after: None, info_hash: None, limit: MAX_PAGE };
        for pair in pairs(uri.query().unwrap_or_default().as_bytes()) {
            let (key, value) = pair?;
            let value = value.as_ref();
            match key.as_ref() {
                b"after" => query.after = Some(value.to_vec()),
                b"limit" => {
                    let limit: u64 = number(value)
                        .filter(|limit| *limit > 0)
                        .ok_or_else(|| wrong("limit", value, "write a number from 1 up"))?;
                    query.limit = usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE);
                }
                b"info_hash" => {
                    let text = std::str::from_utf8(value).ok();
                    let info_hash = text.and_then(|text| text.parse().ok());
                    let info_hash = info_hash.ok_or_else(|| wrong("info_hash", value, HASH));
                    query.info_hash = Some(info_hash?);
                }
                _ => {}
            }
        }
        Ok(query)
    }

    /// After which number the page begins.
    fn number_after(&self) -> Result<Option<u64>, Refusal> {
        let after = self.after.as_deref();
        after.map(|after| number(after).ok_or_else(|| wrong("after", after, NUMBER))).transpose()
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

pub(super) fn wrong(key: &'static str, value: &[u8], wanted: &'static str) -> Refusal {
    Refusal::BadParameter { key, value: String::from_utf8_lossy(value).into_owned(), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Option<(Option<Vec<u8>>, bool, usize)> {
        let uri = format!("/api/v1/peers?{text}").parse().unwrap();
        Query::read(&uri).ok().map(|query| (query.after, query.info_hash.is_some(), query.limit))
    }

    #[test]
    fn reads_which_page_is_wanted_and_makes_none_longer_than_it_may_be() {
        assert_eq!(query(""), Some((None, false, MAX_PAGE)));
        assert_eq!(query("limit=7&after=a%20b"), Some((Some(b"a b".to_vec()), false, 7)));
        assert_eq!(query("limit=1000000"), Some((None, false, MAX_PAGE)));
        assert_eq!(query(&format!("info_hash={}", "a1".repeat(20))), Some((None, true, MAX_PAGE)));
        for wrong in ["limit=0", "limit=x", "limit=-1", "info_hash=a1", "after=%zz"] {
            assert_eq!(query(wrong), None, "{wrong}");
        }
    }
}
