//! Announces as bytes, over HTTP (BEP 3, 23) and UDP (BEP 15): those of one host differ by the swarm alone.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::options::{Options, Over};

/// What every tracker takes for a first packet (BEP 15).
const UDP_MAGIC: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
/// The first host's port.
const FIRST_PORT: u16 = 10_000;

/// The swarms, each as its info hash is written.
pub(crate) struct Swarms(Vec<[u8; 20]>);

impl Swarms {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let hashes: Vec<_> = text.lines().map(hash).collect::<anyhow::Result<_>>()?;
        ensure!(!hashes.is_empty(), "there is no info hash in {}", path.display());
        Ok(Self(hashes))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn hash(line: &str) -> anyhow::Result<[u8; 20]> {
    let wrong = || format!("{line:?} is no info hash: write 40 hexadecimal digits");
    let mut hash = [0; 20];
    ensure!(line.len() == 40 && line.is_ascii(), wrong());
    for (byte, digits) in hash.iter_mut().zip(line.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits)?, 16).with_context(wrong)?;
    }
    Ok(hash)
}

/// What one host says. Only the swarm's place in it is written anew each time.
pub(crate) struct Question {
    bytes: Vec<u8>,
    /// Where the info hash stands, percent-encoded or as it is.
    hash_at: usize,
    over: Over,
}

impl Question {
    pub(crate) fn new(options: &Options, host: u16) -> Self {
        let port = FIRST_PORT + host;
        match options.over {
            Over::Udp => Self::udp(options.numwant, host, port),
            over => Self::http(options, over, host, port),
        }
    }

    /// Doesn't ask for compressed answers, though clients do: a tracker that makes them (torrust-actix) would be measured by
    /// that.
    fn http(options: &Options, over: Over, host: u16, port: u16) -> Self {
        let before = "GET /announce?info_hash=";
        let mut text = before.to_owned();
        let hash = "%00".repeat(20);
        let (tracker, numwant) = (options.tracker, options.numwant);
        let connection = if over == Over::Http { "Connection: close\r\n" } else { "" };
        let _ = write!(
            text,
            "{hash}&peer_id=-XX0001-{host:012}&port={port}&uploaded=0&downloaded=0&left=1024&key=0A1B2C3D\
             &compact=1&numwant={numwant}&supportcrypto=1&no_peer_id=1 HTTP/1.1\r\nHost: {tracker}\r\n\
             User-Agent: announces\r\n{connection}\r\n"
        );
        Self { bytes: text.into_bytes(), hash_at: before.len(), over }
    }

    fn udp(numwant: u32, host: u16, port: u16) -> Self {
        let mut bytes = vec![0; 98];
        bytes[8..12].copy_from_slice(&ANNOUNCE.to_be_bytes());
        bytes[36..56].copy_from_slice(format!("-XX0001-{host:012}").as_bytes());
        bytes[64..72].copy_from_slice(&1024_u64.to_be_bytes());
        bytes[88..92].copy_from_slice(&u32::from(host).to_be_bytes());
        bytes[92..96].copy_from_slice(&numwant.to_be_bytes());
        bytes[96..].copy_from_slice(&port.to_be_bytes());
        Self { bytes, hash_at: 16, over: Over::Udp }
    }

    /// The announce for a swarm; over UDP with the transaction id `number`.
    pub(crate) fn announce(&mut self, swarms: &Swarms, swarm: usize, number: u32) -> &[u8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = &swarms.0[swarm % swarms.len()];
        if self.over == Over::Udp {
            self.bytes[12..16].copy_from_slice(&number.to_be_bytes());
            self.bytes[self.hash_at..][..20].copy_from_slice(hash);
        } else {
            for (written, byte) in self.bytes[self.hash_at..].chunks_exact_mut(3).zip(hash) {
                written[1] = DIGITS[usize::from(byte >> 4)];
                written[2] = DIGITS[usize::from(byte & 15)];
            }
        }
        &self.bytes
    }

    /// The packet that asks for a connection id.
    pub(crate) fn connect(number: u32) -> [u8; 16] {
        let mut packet = [0; 16];
        packet[..8].copy_from_slice(&UDP_MAGIC.to_be_bytes());
        packet[8..12].copy_from_slice(&CONNECT.to_be_bytes());
        packet[12..].copy_from_slice(&number.to_be_bytes());
        packet
    }

    /// From now on announces have this connection id.
    pub(crate) fn set_connection(&mut self, id: [u8; 8]) {
        self.bytes[..8].copy_from_slice(&id);
    }
}
