//! What is counted, for whoever scrapes `/metrics` (Prometheus' text format). Rooms count; nothing here decides.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Connections to peers that are open now.
    pub(crate) peers: Gauge,
    /// Bytes that went out to peers, headers included.
    pub(crate) uploaded: Counter,
    opened: Family<Opened, Counter>,
    closed: Family<Closed, Counter>,
    /// Connections that were closed unheard, because their address had broken the protocol too often.
    pub(crate) held_off: Counter,
    udp: Family<UdpPackets, Counter>,
    /// Hosts whose places are gone by, of all torrents together; and the places where any are.
    pub(crate) steered_hosts: Gauge,
    pub(crate) places: Gauge,
    /// Gateways of places that somebody named.
    pub(crate) gateways: Gauge,
    replaced: Family<Replaced, Counter>,
    over_limit: Family<OverLimit, Counter>,
    torrents_shown: Family<Manner, Gauge>,
    /// Pieces that were shown to a peer, where they are shown one by one.
    pub(crate) pieces_shown: Counter,
    /// Pieces that peers got to whom they weren't shown.
    pub(crate) pieces_passed_on: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Opened {
    dialled: &'static str,
    encrypted: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UdpPackets {
    fate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replaced {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Manner {
    manner: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OverLimit {
    fate: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("distributor");
        let (peers, uploaded, held_off) = (Gauge::default(), Counter::default(), Counter::default());
        let (opened, closed, udp) = (Family::default(), Family::default(), Family::default());
        registry.register("peers", "Connections to peers that are open", peers.clone());
        registry.register("uploaded_bytes", "Bytes sent to peers, headers included", uploaded.clone());
        registry.register(
            "peers_opened",
            "Connections to peers whose handshake was completed",
            opened.clone(),
        );
        registry.register("peers_closed", "Connections to peers that have ended, by reason", closed.clone());
        registry.register("peers_held_off", "Connections refused for earlier violations", held_off.clone());
        registry.register(
            "udp_packets",
            "Packets to the tracker over UDP, by what became of them",
            udp.clone(),
        );
        let over_limit = Family::default();
        registry.register(
            "http_over_limit",
            "HTTP connections and announces of addresses that ask too much, by what became of them",
            over_limit.clone(),
        );
        let (steered_hosts, places, gateways) = (Gauge::default(), Gauge::default(), Gauge::default());
        let replaced = Family::default();
        registry.register("steered_hosts", "Hosts told of others by their places", steered_hosts.clone());
        registry.register("places", "Places of hosts, of each torrent its own", places.clone());
        registry.register("gateways", "Hosts that are gateways of their places", gateways.clone());
        registry.register("gateways_replaced", "Gateways that others followed, by reason", replaced.clone());
        let torrents_shown = Family::default();
        let (pieces_shown, pieces_passed_on) = (Counter::default(), Counter::default());
        registry.register(
            "torrents_shown",
            "Torrents with connections, by how their pieces are shown",
            torrents_shown.clone(),
        );
        registry.register("pieces_shown", "Pieces shown to a peer one by one", pieces_shown.clone());
        registry.register(
            "pieces_passed_on",
            "Pieces that peers got to whom they were not shown",
            pieces_passed_on.clone(),
        );
        Self {
            registry,
            peers,
            uploaded,
            opened,
            closed,
            held_off,
            udp,
            over_limit,
            steered_hosts,
            places,
            gateways,
            replaced,
            torrents_shown,
            pieces_shown,
            pieces_passed_on,
        }
    }
}

impl Metrics {
    /// A peer's handshake is complete.
    pub(crate) fn count_opened(&self, dialled: bool, encrypted: bool) {
        let word = |is: bool| if is { "yes" } else { "no" };
        let labels = Opened { dialled: word(dialled), encrypted: word(encrypted) };
        self.opened.get_or_create(&labels).inc();
    }

    /// A connection to a peer has ended. The reasons are few and known: labels must not grow with what peers do.
    pub(crate) fn count_closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Closed { reason }).inc();
    }

    /// The counter of packets over UDP that shared this fate. There are few fates; one who counts often keeps theirs.
    pub(crate) fn udp_packets(&self, fate: &'static str) -> Counter {
        self.udp.get_or_create_owned(&UdpPackets { fate })
    }

    /// The counter of what addresses asked over HTTP beyond their limit, as far as it shared this fate; likewise.
    pub(crate) fn over_limit(&self, fate: &'static str) -> Counter {
        self.over_limit.get_or_create_owned(&OverLimit { fate })
    }

    /// A gateway's place was taken by another host. The reasons are few and known.
    pub(crate) fn count_replaced(&self, reason: &'static str) {
        self.replaced.get_or_create(&Replaced { reason }).inc();
    }

    /// So many torrents are shown in this manner now. The manners are few and known.
    pub(crate) fn set_torrents_shown(&self, manner: &'static str, count: usize) {
        self.torrents_shown.get_or_create(&Manner { manner }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Everything that was counted so far.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_counted() {
        let metrics = Metrics::default();
        metrics.peers.inc();
        metrics.uploaded.inc_by(7);
        metrics.count_opened(true, false);
        metrics.count_closed("finished");
        let text = metrics.text().unwrap();
        for line in [
            "distributor_peers 1",
            "distributor_uploaded_bytes_total 7",
            "distributor_peers_opened_total{dialled=\"yes\",encrypted=\"no\"} 1",
            "distributor_peers_closed_total{reason=\"finished\"} 1",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} is missing:\n{text}");
        }
    }
}
