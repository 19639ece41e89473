//! The tracker's protocol over UDP (BEP 15), one packet for a question and one for its answer.
//!
//! Owns the packets' layout, the options behind an announce (BEP 41), and the ids by which askers show that they
//! hear what is sent to their address. Refuses to read more of a packet than its head before that was shown, to
//! read the address that an announce claims for itself, and to write an answer that the network would take apart.
//!
//! Every packet is read and written in place: none takes an allocation.

mod answer;
mod connection;
mod request;
mod url_data;

pub use self::answer::{
    MAX_UDP_ANSWER_LEN, MAX_UDP_PEERS_V4, MAX_UDP_PEERS_V6, UDP_CONNECT_ANSWER_LEN, encode_udp_announce,
    encode_udp_connect, encode_udp_error, encode_udp_scrape,
};
pub use self::connection::{ConnectionId, ConnectionIds};
pub use self::request::{
    MAX_UDP_REQUEST_LEN, MIN_UDP_REQUEST_LEN, TransactionId, UdpClaim, UdpError, UdpHashes, UdpQuestion,
    UdpRequest,
};
pub use self::url_data::UrlData;

/// What is asked for, and in answers what it is that is answered (BEP 15).
mod action {
    pub(super) const CONNECT: u32 = 0;
    pub(super) const ANNOUNCE: u32 = 1;
    pub(super) const SCRAPE: u32 = 2;
    /// In answers only.
    pub(super) const ERROR: u32 = 3;
}
