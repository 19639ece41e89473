//! The least that a seeder could do, as the limit for those that do more: one thread for each connection, which reads
//! requests and sends a header and a block of the file for each, as many as were read in one call.
//!
//! It believes its peers whatever they say of themselves, chokes nobody, and serves one file:
//!
//! ```text
//! bare-loop file file.torrent            # prints `listening peers=127.0.0.1:PORT`
//! ```
//!
//! The call is `writev` from a map unless another of the [`ways`] is asked for, to see what the kernel makes of each.

// The map of the file; the calls that no safe crate has.
#![allow(unsafe_code)]

mod connection;
mod ways;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use clap::Parser;
use distributor_load::Torrent;
use memmap2::{Mmap, MmapOptions};

use ways::Way;

/// Serves one file to whoever asks.
#[derive(Debug, Parser)]
struct Options {
    /// The file.
    file: PathBuf,
    /// Its .torrent.
    torrent: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How blocks are sent.
    #[arg(long, value_enum, default_value = "writev")]
    way: Way,
}

/// What all connections send from.
struct Served {
    torrent: Torrent,
    file: File,
    map: Mmap,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let torrent = Torrent::read(&options.torrent)?;
    let file = File::open(&options.file).with_context(|| format!("{}", options.file.display()))?;
    // SAFETY: only the kernel reads it, on behalf of `writev`; who truncates the file meanwhile gets an error there.
    let map = unsafe { MmapOptions::new().populate().map(&file) }?;
    anyhow::ensure!(map.len() as u64 == torrent.len(), "the file isn't the torrent's");
    let served = Served { torrent, file, map };
    let listener = TcpListener::bind(options.listen)?;
    println!("listening peers={}", listener.local_addr()?);
    thread::scope(|scope| {
        for socket in listener.incoming() {
            let socket = socket?;
            let served = &served;
            scope.spawn(move || connection::serve(&socket, served, options.way));
        }
        Ok(())
    })
}
