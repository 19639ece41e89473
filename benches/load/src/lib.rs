//! What the load generators (`load`, `announces`) and the least seeder (`bare-loop`) have in common: the torrent they
//! speak of, the bytes of the peer protocol (BEP 3, 6, 10), and what the kernel says of processes.
//!
//! Neither does anything with `distributor-proto` but read .torrent files. The wire is written here a second time on
//! purpose: what measures the seeder must not share its mistakes.

mod process;
mod torrent;
pub mod wire;

pub use process::{Processes, own_cpu};
pub use torrent::{Block, Torrent};
