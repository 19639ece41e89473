//! The BitTorrent wire without sockets: what `distributor` says to trackers' clients and to peers, as plain
//! values.
//!
//! This crate owns the *formats* (metainfo, announces, scrapes, peer messages) and the *rules* of one peer
//! connection. It refuses everything that touches the world: no sockets, files, clocks, threads or
//! randomness. Time comes in as an [`Instant`](std::time::Instant) argument and file data never comes in at
//! all: a [`Session`] hands out validated [`Block`]s and whoever drives it completes them from wherever the
//! bytes are.
//!
//! # Map
//!
//! | file | what it owns | source |
//! |---|---|---|
//! | `id` | [`InfoHash`], [`PeerId`] | BEP 3, 20 |
//! | `geometry` | [`Geometry`], [`PieceIndex`], [`Block`]: arithmetic, checked once | BEP 3 |
//! | `bitfield` | [`Bitfield`] | BEP 3 |
//! | `bencode` | the one place where bencode is read and written | BEP 3 |
//! | `metainfo` | [`Info`], [`Metainfo`], [`encode_torrent`] | BEP 3, 27 |
//! | `query` | [`percent_decode`], [`percent_encode`], [`pairs`] | RFC 3986 |
//! | `announce` | [`AnnounceRequest`], [`AnnounceResponse`] | BEP 3, 7, 21, 23, 24, 31 |
//! | `scrape` | [`parse_scrape`], [`encode_scrape`] | BEP 48 |
//! | `udp/` | [`UdpRequest`], [`ConnectionIds`], [`encode_udp_announce`]: announces and scrapes over UDP | BEP 15, 41 |
//! | `proxy` | [`ProxyHeader`]: for whom a proxy speaks | the PROXY protocol |
//! | `compact` | [`canonical`] addresses and their 6 and 18 byte forms | BEP 7, 23 |
//! | `handshake` | [`Handshake`], [`Extensions`] | BEP 3, 6, 10 |
//! | `message` | [`Message`], [`block_header`] | BEP 3, 5, 6, 10 |
//! | `extension` | [`ExtendedHandshake`], [`MetadataMessage`] | BEP 9, 10, 21 |
//! | `allowed_fast` | [`allowed_fast_set`] | BEP 6 |
//! | `magnet` | [`magnet_link`] | BEP 9 |
//! | `mse/` | [`MseResponder`], [`MseInitiator`], [`MseStream`]: encryption of what follows | Vuze's specification |
//! | `session/` | [`Session`]: one connection of a seeder, accepted or dialled | BEP 3, 6, 9, 10, 21 |
//!
//! # Habits
//!
//! Raw integers stop at the decoders; what goes further in is a type that can't hold a bad value. Whatever
//! the other side controls the size of has a `MAX_` constant here. Nothing in this crate panics on what came
//! from a peer.

mod allowed_fast;
mod announce;
mod bencode;
mod bitfield;
mod compact;
mod extension;
mod geometry;
mod handshake;
mod id;
mod magnet;
mod message;
mod metainfo;
mod mse;
mod proxy;
mod query;
mod scrape;
mod session;
mod udp;

pub use allowed_fast::{MAX_ALLOWED_FAST, allowed_fast_set};
pub use announce::{
    AnnounceError, AnnounceEvent, AnnounceKey, AnnounceRequest, AnnounceResponse, MAX_KEY_LEN, PeerAddr,
    PeerFormat, encode_failure, encode_refusal,
};
pub use bencode::{BencodeError, MAX_DEPTH};
pub use bitfield::{Bitfield, BitfieldError};
pub use compact::{
    COMPACT_V4_LEN, COMPACT_V6_LEN, CompactError, MAX_COMPACT_PEERS, canonical, decode_compact,
    decode_compact6,
};
pub use extension::{ExtendedHandshake, MAX_EXTENDED_LEN, METADATA_PIECE_LEN, MetadataMessage};
pub use geometry::{
    BLOCK_LEN, Block, BlockError, Geometry, GeometryError, MAX_PIECE_LEN, MAX_PIECES, MAX_REQUEST_LEN,
    MIN_PIECE_LEN, PieceIndex, TARGET_PIECES,
};
pub use handshake::{Extensions, HANDSHAKE_LEN, Handshake, HandshakeError};
pub use id::{IdError, InfoHash, PeerId};
pub use magnet::magnet_link;
pub use message::{BLOCK_HEADER_LEN, MAX_MESSAGE_LEN, Message, MessageError, block_header};
pub use metainfo::{Info, MAX_NAME_LEN, MAX_TORRENT_LEN, Metainfo, MetainfoError, encode_torrent};
pub use mse::{
    MAX_INITIAL_LEN, MAX_MSE_KEPT_LEN, MAX_MSE_PADDING, MSE_SECRET_LEN, MseError, MseInitiator, MseOffer,
    MseProgress, MseResponder, MseStream, Rc4Pair, TorrentDigest, begins_in_the_clear,
};
pub use proxy::{MAX_PROXY_V1_LEN, MAX_PROXY_V2_REST, ProxyError, ProxyHeader};
pub use query::{MAX_PAIRS, MAX_QUERY_LEN, QueryError, QueryPair, pairs, percent_decode, percent_encode};
pub use scrape::{MAX_SCRAPE, ScrapeStats, encode_scrape, parse_scrape};
pub use session::{
    Event, Input, MAX_CONTROL_LEN, MAX_KEPT_LEN, MAX_METADATA_COPIES, MAX_METADATA_QUEUED, Output, Seeding,
    Session, SessionConfig, SessionError, Transmit, Violation,
};
pub use udp::{
    ConnectionId, ConnectionIds, MAX_UDP_ANSWER_LEN, MAX_UDP_PEERS_V4, MAX_UDP_PEERS_V6, MAX_UDP_REQUEST_LEN,
    MIN_UDP_REQUEST_LEN, TransactionId, UDP_CONNECT_ANSWER_LEN, UdpClaim, UdpError, UdpHashes, UdpQuestion,
    UdpRequest, UrlData, encode_udp_announce, encode_udp_connect, encode_udp_error, encode_udp_scrape,
};
