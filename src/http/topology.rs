//! `/api/v1/topology`: where the hosts of swarms are, place by place, and how far each place has come, as far as that
//! is known: hosts say in their announces what they have got and given, and the origin counts what it sends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use distributor_proto::{InfoHash, percent_encode};
use serde_json::{Value, json};

use super::Http;
use super::api::{Query, wrong};
use super::json::json_response;
use super::refusal::Refusal;
use crate::racks::{HostReport, PlaceReport};

/// How many gateways of a place are told by their addresses. There are eight, and as many as get nothing from others.
const MAX_GATEWAYS_TOLD: usize = 64;

/// What the origin knows of one host that is connected to it.
#[derive(Clone, Copy, Debug, Default)]
struct Connected {
    /// The share of the torrent that it has, in thousandths.
    share: u32,
    uploaded: u64,
}

/// What is known of a torrent beside its hosts.
#[derive(Debug, Default)]
struct About {
    name: Option<String>,
    /// None for one that is not served any more.
    size: Option<u64>,
    /// Bytes that the origin sent to anybody.
    sent: u64,
    connected: HashMap<IpAddr, Connected>,
}

/// The places of the hosts of one torrent, or of all, in the order of info hashes and names.
pub(super) async fn show(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Refusal> {
    let query = Query::read(&uri)?;
    let after = query.after.as_deref().map(|after| {
        cursor(after).ok_or_else(|| wrong("after", after, "take it from \"next\", as it stands there"))
    });
    let after = after.transpose()?;
    let reports = http.racks.places(query.info_hash, after, query.limit);
    let next = reports.last().filter(|_| reports.len() == query.limit).map(|last| {
        let torrent = query.info_hash.map(|info_hash| format!("info_hash={info_hash}&")).unwrap_or_default();
        let after = percent_encode(format!("{}/{}", last.info_hash, last.place).as_bytes());
        format!("/api/v1/topology?{torrent}limit={}&after={after}", query.limit)
    });
    let mut torrents: HashMap<InfoHash, About> = HashMap::new();
    let places: Vec<Value> = reports
        .iter()
        .map(|report| {
            let about = torrents.entry(report.info_hash).or_insert_with(|| http.about(&report.info_hash));
            describe(report, about)
        })
        .collect();
    Ok(json_response(&json!({ "places": places, "next": next })))
}

/// The info hash and the name of the last place of a page.
fn cursor(after: &[u8]) -> Option<(InfoHash, &str)> {
    let (info_hash, place) = std::str::from_utf8(after).ok()?.split_once('/')?;
    Some((info_hash.parse().ok()?, place))
}

impl Http {
    fn about(&self, info_hash: &InfoHash) -> About {
        let torrent = self.catalog.by_info_hash(info_hash);
        let mut connected: HashMap<IpAddr, Connected> = HashMap::new();
        for (_, peer) in self.traffic.peers_from(0, Some(info_hash), usize::MAX) {
            let there = connected.entry(peer.about.addr.ip().to_canonical()).or_default();
            there.share = there.share.max(peer.counters.share());
            there.uploaded = there.uploaded.saturating_add(peer.counters.uploaded());
        }
        About {
            name: torrent
                .as_ref()
                .map(|torrent| self.catalog.exact_name(&torrent.file().at).to_string_lossy().into_owned()),
            size: torrent.map(|torrent| torrent.geometry().total_len()),
            sent: self.traffic.tally(info_hash).map_or(0, |tally| tally.uploaded()),
            connected,
        }
    }
}

fn describe(report: &PlaceReport, about: &About) -> Value {
    let seeds = report.hosts.iter().filter(|host| host.is_seed).count();
    let gateways = report.hosts.iter().filter(|host| host.is_gateway).take(MAX_GATEWAYS_TOLD);
    let gateways: Vec<String> = gateways.map(|gateway| gateway.addr.to_string()).collect();
    let said = |of: fn(&HostReport) -> u64, gone: u64| {
        report.hosts.iter().fold(gone, |sum, host| sum.saturating_add(of(host)))
    };
    let downloaded = said(|host| host.reports.downloaded, report.gone.downloaded);
    let uploaded = said(|host| host.reports.uploaded, report.gone.uploaded);
    let from_origin = from_origin(report, about);
    // Whatever hosts here gave each other is in both sums, and what they gave to others in one.
    let entered = from_origin.max(downloaded.saturating_sub(uploaded));
    let copies = |bytes: u64| about.size.filter(|size| *size > 0).map(|size| bytes as f64 / size as f64);
    json!({
        "info_hash": report.info_hash.to_string(),
        "name": about.name,
        "place": report.place,
        "basis": report.by.word(),
        "hosts": report.hosts.len(),
        "downloaders": report.hosts.len() - seeds,
        "seeds": seeds,
        "gateways": gateways,
        "progress": progress(&report.hosts, about),
        "downloaded": downloaded,
        "uploaded": uploaded,
        "copies_from_origin": copies(from_origin),
        "copies_entered_at_least": copies(entered),
        "origin_copies": copies(about.sent),
    })
}

/// Bytes that the origin sent to those who are connected to it from here.
fn from_origin(report: &PlaceReport, about: &About) -> u64 {
    let mut ips: Vec<IpAddr> = report.hosts.iter().map(|host| host.addr.ip()).collect();
    // Of several hosts behind one address it isn't known who got what.
    ips.sort_unstable();
    ips.dedup();
    ips.iter().filter_map(|ip| about.connected.get(ip)).map(|connected| connected.uploaded).sum()
}

/// The share of the torrent that hosts have on average: of those of whom anything is known, who is further of what they
/// announced last and what the origin sees.
fn progress(hosts: &[HostReport], about: &About) -> Option<f64> {
    let of = |host: &HostReport| {
        if host.is_seed {
            return Some(1.0);
        }
        let said = about.size.filter(|size| *size > 0).zip(host.left);
        let said = said.map(|(size, left)| size.saturating_sub(left) as f64 / size as f64);
        let seen = about.connected.get(&host.addr.ip()).map(|connected| f64::from(connected.share) / 1000.0);
        said.into_iter().chain(seen).reduce(f64::max)
    };
    let known: Vec<f64> = hosts.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::racks::{By, Reports};

    const TORRENT: InfoHash = InfoHash::new([7; 20]);

    fn host(last: u8, left: Option<u64>, downloaded: u64, uploaded: u64) -> HostReport {
        HostReport {
            addr: ([10, 1, 7, last], 6881).into(),
            is_seed: left == Some(0),
            is_gateway: last == 1,
            left,
            reports: Reports { downloaded, uploaded },
        }
    }

    fn described(hosts: Vec<HostReport>, gone: Reports, connected: &[(u8, Connected)]) -> Value {
        let place = "dc1/row3/rack7".to_owned();
        let report = PlaceReport { info_hash: TORRENT, place, by: By::Table, hosts, gone };
        let connected = connected.iter().map(|(last, of)| (IpAddr::from([10, 1, 7, *last]), *of)).collect();
        describe(&report, &About { size: Some(1000), sent: 2500, connected, ..About::default() })
    }

    #[test]
    fn tells_what_has_entered_at_least_and_no_more_than_is_known() {
        let hosts = vec![host(1, Some(0), 1000, 800), host(2, Some(200), 800, 100)];
        let gone = Reports { downloaded: 300, uploaded: 0 };
        let value = described(hosts, gone, &[(1, Connected { share: 1000, uploaded: 600 })]);
        assert_eq!((&value["downloaded"], &value["uploaded"]), (&json!(2100), &json!(900)));
        assert_eq!(value["copies_entered_at_least"], json!(1.2));
        assert_eq!((&value["copies_from_origin"], &value["origin_copies"]), (&json!(0.6), &json!(2.5)));
        assert_eq!(
            (&value["hosts"], &value["seeds"], &value["downloaders"]),
            (&json!(2), &json!(1), &json!(1))
        );
        assert_eq!(value["gateways"], json!(["10.1.7.1:6881"]));
    }

    #[test]
    fn what_the_origin_sent_has_entered_before_anybody_says_so() {
        let value = described(
            vec![host(1, None, 0, 0)],
            Reports::default(),
            &[(1, Connected { share: 250, uploaded: 300 })],
        );
        assert_eq!((&value["copies_entered_at_least"], &value["progress"]), (&json!(0.3), &json!(0.25)));
    }

    #[test]
    fn the_progress_of_those_is_left_out_of_whom_nothing_is_known() {
        let hosts = vec![host(1, Some(0), 0, 0), host(2, Some(500), 0, 0), host(3, None, 0, 0)];
        assert_eq!(described(hosts, Reports::default(), &[])["progress"], json!(0.75));
        assert_eq!(described(vec![host(3, None, 0, 0)], Reports::default(), &[])["progress"], Value::Null);
    }

    #[test]
    fn a_cursor_is_an_info_hash_and_a_place() {
        let hash = "a1".repeat(20);
        let text = format!("{hash}/dc1/row3/rack7");
        assert_eq!(cursor(text.as_bytes()), Some((hash.parse().unwrap(), "dc1/row3/rack7")));
        for wrong in ["", "dc1", "a1/dc1", &hash] {
            assert_eq!(cursor(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
