//! Point it at a directory: every file in it can be fetched by stock BitTorrent clients within seconds.
//!
//! One process is the tracker, the server of torrents and a peer-wire seeder; they share the catalog of files and the
//! piece store. [`Server`] runs it all inside another program, the binary `distributor` from a shell.
//!
//! # The floor plan
//!
//! ```text
//!             inotify                         settled files                 torrents
//!  directory ──────────▶ watcher ──▶ ingest ──▶ state, hasher ─────────────▶ catalog ◀──── http   /serve …
//!                                                                             │    ▲        │      /announce /scrape
//!                                                                             ▼    │        ▼
//!  downloaders ◀═══ peer wire ═══▶ seeder ◀──── store (mmap) ◀────────────────┘    └──── tracker ◀──── udp
//! ```
//!
//! | room | what it owns |
//! |---|---|
//! | [`cli`] | flags as typed or written into a file, and the sentences for wrong ones |
//! | `server` | binds, joins the rooms by bounded channels, runs until shutdown |
//! | `http` | requests and answers, a file a topic |
//! | `udp` | announces and scrapes over UDP, in batches: their system calls are unsafe |
//! | `seeder` | peer connections, accepted or dialled: each drives one `Session` of `distributor-proto`; who gets a slot |
//! | `ingest` | settled files to the catalog, remembered or else hashed; what changed or went is withdrawn |
//! | `announce` | what announces are answered, whichever way they came, the origin included |
//! | `metadata` | the info dictionaries of torrents, for those who ask |
//! | `catalog` | path and info hash to torrent; the newest file of a directory |
//! | `hasher` | the pieces of files to SHA-1, many at a time; how far that is |
//! | `tracker` | swarms: who is in them, for how long, who is told of whom, and when to come again; values in, values out |
//! | `racks` | the hosts of swarms by their places: which are gateways, whom to tell of whom, which piece to show to whom |
//! | `steering` | who is told of whom, and which piece the origin gives to whom, where racks are known: policies |
//! | `simulation` | swarms on paper that go by these policies; with the feature of that name |
//! | `watcher` | events of the file system to files that hold still |
//! | `store` | mapped files, and the vectored write that sends from them; unsafe, as are the hasher's kernels |
//! | `state` | what survives a restart: which files were hashed, and their digests; who was in which swarm |
//! | `disks` | how many threads may wait for a disk |
//! | `traffic` | what goes out to whom, counted as it goes; how fast it may |
//! | `accept` | accepting connections, and how many are held |
//! | `metrics` | what is counted |
//! | `config` | settings as the program uses them |
//! | `files` | what a file is: a place below a watched directory, and the state of its inode |
//! | `topology` | where hosts are by their addresses, and how far from each other |
//! | `distributor-proto` | the wire without sockets |
//!
//! Imports go downward only: `server` > (`http`, `seeder`, `udp`) > (`announce`, `ingest`, `metadata`) >
//! (`catalog`, `hasher`) > (`racks`, `simulation`, `tracker`) > (`accept`, `disks`, `metrics`, `state`, `steering`,
//! `store`, `traffic`, `watcher`) > (`config`, `files`) > `topology` > `distributor-proto`. Rooms on one floor don't
//! know each other; `server` joins them. A test holds this.
//!
//! # What is promised
//!
//! - The same bytes under the same name have the same info hash, on any machine and after any restart.
//! - A torrent stands for an inode as it was when it was hashed (device, number, size, times). A file that is changed
//!   in place is withdrawn at once; one that is replaced by rename or deleted is served on to those who have begun.
//! - No file that is truncated under its map kills the process, and no slow disk holds up other connections: see
//!   `store`.
//! - A disk that hangs keeps nothing from being noticed in watched directories on others: see `watcher`.
//! - What was hashed is not hashed again, also after `kill -9` or a power cut; and no byte is sent on the strength of
//!   what is remembered that its torrent doesn't have: see `state`.
//! - A restart keeps swarms: whoever announces after it is told of those who were there. `kill -9` loses what was new
//!   of them within the last half minute.
//! - A peer takes about a hundred bytes, and no announce waits for a disk, or for a swarm to grow. Those whose places
//!   are gone by, a hundred thousand at most, take some three hundred more.
//! - A file takes about a KiB of memory while nobody asks for it, however many pieces it has.
//! - Whatever others control is bounded by a named constant.

mod accept;
mod announce;
mod catalog;
pub mod cli;
mod config;
mod disks;
mod files;
mod hasher;
mod http;
mod ingest;
mod metadata;
mod metrics;
mod racks;
mod seeder;
mod server;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod state;
mod steering;
mod store;
mod topology;
mod tracker;
mod traffic;
mod udp;
mod watcher;

pub use config::{
    AddrError, AdvertisedAddr, AnnounceUrl, AnnounceUrlError, Choking, ChokingConfig, ChokingError, Config,
    DEFAULT_HTTP_PORT, DEFAULT_PEERS_PORT, Dscp, DscpError, Encryption, EncryptionError, HashingConfig,
    HttpConfig, IgnoreGlob, IgnoreGlobError, ListenAddr, PeerLimits, SeederConfig, Sha1Kernel,
    Sha1KernelError, SuperSeeding, SuperSeedingError, TorrentsConfig, TrustedProxy, TrustedProxyError,
    UploadRate, UploadRateError, UploadRates, UploadSlots, UploadSlotsError, WatchConfig, WatchMode,
    WatchModeError,
};
pub use files::RootError;
pub use hasher::{
    HashingError, HashingProgress, HashingStatus, MadeTorrent, MakeTorrentError, MakingTorrent, Showing,
    Stderr,
};
pub use server::{BindError, RunError, Server};
pub use state::StateError;
pub use topology::{
    Basis, GUESSED_RACK_PREFIX_V4, GUESSED_RACK_PREFIX_V6, Location, MAX_LEVEL_LEN, MAX_LEVELS, MAX_NETWORKS,
    Network, NetworkError, Place, PlaceName, PlaceNameError, Topology, TopologyBuilder, TopologyControl,
    TopologyError,
};
pub use traffic::RateControl;
pub use watcher::WatchError;
