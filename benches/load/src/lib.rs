//! What the load generator (`load`) and the least seeder (`bare-loop`) have in common: the torrent they speak of, and
//! the bytes of the peer protocol (BEP 3, 6, 10).
//!
//! Neither does anything with `distributor-proto` but read .torrent files. The wire is written here a second time on
//! purpose: what measures the seeder must not share its mistakes.

mod torrent;
pub mod wire;

pub use torrent::{Block, Torrent};
