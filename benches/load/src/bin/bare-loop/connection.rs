//! One connection: greets, reads requests, and has them answered in the way that was asked for.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, bail, ensure};
use distributor_load::wire::{self, HANDSHAKE_LEN, Handshake, id};
use distributor_load::{Block, Torrent};
use rustix::io::Errno;

use crate::Served;
use crate::ways::Way;

/// The longest message that is read: more than any handshake of extensions or bitfield of what it is for.
const MAX_MESSAGE_LEN: usize = 64 * 1024;
/// Blocks in one call: 1,024 slices (IOV_MAX), two a block.
pub(crate) const BATCH: usize = 512;

/// Serves until the peer leaves; what else ends it is printed.
pub(crate) fn serve(socket: &TcpStream, served: &Served, way: Way) {
    match converse(socket, served, way) {
        Err(error) if !has_left(&error) => eprintln!("{error:#}"),
        _ => {}
    }
}

fn has_left(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error)
        .or_else(|| error.downcast_ref().map(|error: &Errno| error.raw_os_error()));
    code.is_some_and(|code| [Errno::CONNRESET, Errno::PIPE].contains(&Errno::from_raw_os_error(code)))
}

fn converse(mut socket: &TcpStream, served: &Served, way: Way) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut theirs = [0; HANDSHAKE_LEN];
    socket.read_exact(&mut theirs)?;
    let theirs = Handshake::decode(&theirs).context("not a BitTorrent handshake")?;
    ensure!(theirs.info_hash == served.torrent.info_hash(), "another torrent");
    let ours = Handshake { peer_id: *b"-BL0001-000000000000", fast: false, extended: false, ..theirs };
    let mut greeting = ours.encode().to_vec();
    greeting.extend(everything(&served.torrent));
    greeting.extend(wire::bare(id::UNCHOKE));
    socket.write_all(&greeting)?;

    let mut sender = way.sender(socket, served)?;
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
            sender.send(batch)?;
        }
        wanted.clear();
    }
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
