//! The least that a seeder could do, as the limit for those that do more: one thread for each connection, which reads
//! requests and writes a header and a block from a map of the file for each, as many as were read in one call.
//!
//! It believes its peers whatever they say of themselves, chokes nobody, and serves one file:
//!
//! ```text
//! bare-loop file file.torrent            # prints `listening peers=127.0.0.1:PORT`
//! ```

// The map of the file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, bail};
use clap::Parser;
use distributor_load::wire::{self, HANDSHAKE_LEN, Handshake, id};
use distributor_load::{Block, Torrent};
use memmap2::{Mmap, MmapOptions};

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
}

/// The longest message that is read: more than any handshake of extensions or bitfield of what it is for.
const MAX_MESSAGE_LEN: usize = 64 * 1024;
/// Blocks in one call: 1,024 slices (IOV_MAX), two a block.
const BATCH: usize = 512;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let torrent = Torrent::read(&options.torrent)?;
    let file = File::open(&options.file).with_context(|| format!("{}", options.file.display()))?;
    // SAFETY: only the kernel reads it, on behalf of `writev`; who truncates the file meanwhile gets an error there.
    let map = unsafe { MmapOptions::new().populate().map(&file) }?;
    anyhow::ensure!(map.len() as u64 == torrent.len(), "the file isn't the torrent's");
    let listener = TcpListener::bind(options.listen)?;
    println!("listening peers={}", listener.local_addr()?);
    thread::scope(|scope| {
        for socket in listener.incoming() {
            let socket = socket?;
            let (torrent, map) = (&torrent, &map);
            scope.spawn(move || match serve(&socket, torrent, map) {
                Err(error) if !is_gone(&error) => eprintln!("{error:#}"),
                _ => {}
            });
        }
        Ok(())
    })
}

fn serve(mut socket: &TcpStream, torrent: &Torrent, map: &Mmap) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut theirs = [0; HANDSHAKE_LEN];
    socket.read_exact(&mut theirs)?;
    let theirs = Handshake::decode(&theirs).context("not a BitTorrent handshake")?;
    anyhow::ensure!(theirs.info_hash == torrent.info_hash(), "another torrent");
    let ours = Handshake { peer_id: *b"-BL0001-000000000000", fast: false, extended: false, ..theirs };
    let mut greeting = ours.encode().to_vec();
    greeting.extend(everything(torrent));
    greeting.extend(wire::bare(id::UNCHOKE));
    socket.write_all(&greeting)?;

    let mut buffer = vec![0; 2 * MAX_MESSAGE_LEN];
    let mut filled = 0;
    let mut wanted = Vec::new();
    loop {
        match socket.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(len) => filled += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        let read = requests(&buffer[..filled], &mut wanted)?;
        buffer.copy_within(read..filled, 0);
        filled -= read;
        for batch in wanted.chunks(BATCH) {
            send(socket, torrent, map, batch)?;
        }
        wanted.clear();
    }
}

/// Whether the peer just left, as all do.
fn is_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

/// The bitfield of who has all.
fn everything(torrent: &Torrent) -> Vec<u8> {
    let pieces = torrent.pieces();
    let mut bits = vec![0xff; pieces.div_ceil(8) as usize];
    if let Some(last) = bits.last_mut() {
        *last <<= (8 - pieces % 8) % 8;
    }
    let mut message = (bits.len() as u32 + 1).to_be_bytes().to_vec();
    message.push(id::BITFIELD);
    message.extend(bits);
    message
}

/// Takes the requests out of whole messages, and says how long those were.
fn requests(bytes: &[u8], wanted: &mut Vec<Block>) -> anyhow::Result<usize> {
    let mut at = 0;
    while let Some(len) = wire::number(bytes, at) {
        let len = len as usize;
        if len > MAX_MESSAGE_LEN {
            bail!("a message of {len} bytes");
        }
        let Some(message) = bytes.get(at + 4..at + 4 + len) else { break };
        if let Some((&id::REQUEST, body)) = message.split_first() {
            wanted.push(wire::block(body).context("a short request")?);
        }
        at += 4 + len;
    }
    Ok(at)
}

fn send(mut socket: &TcpStream, torrent: &Torrent, map: &Mmap, blocks: &[Block]) -> anyhow::Result<()> {
    let headers: Vec<_> = blocks.iter().map(|block| wire::piece_header(*block)).collect();
    let mut slices = Vec::with_capacity(2 * blocks.len());
    for (block, header) in blocks.iter().zip(&headers) {
        let range = torrent.range(*block).context("a request for what isn't there")?;
        slices.push(IoSlice::new(header));
        slices.push(IoSlice::new(map.get(range).context("the file is shorter than the torrent")?));
    }
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let sent = socket.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, sent);
    }
    Ok(())
}
