//! A seeder's side, played from a script, and what the peer makes of it.

use distributor_load::wire::{BLOCK_LEN, REQUEST_LEN, bare, piece_header, request};
use distributor_proto::{Geometry, Info, encode_torrent};
use sha1::{Digest, Sha1};

use super::*;

const PIECE_LEN: u32 = 4 * BLOCK_LEN;

/// A torrent of so many pieces, and its file.
pub(crate) fn torrent(pieces: u32) -> (Torrent, Vec<u8>) {
    let data: Vec<u8> = (0..pieces * PIECE_LEN).map(|at| (at / 7) as u8).collect();
    let hashes: Vec<u8> =
        data.chunks(PIECE_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let geometry = Geometry::new(data.len() as u64, PIECE_LEN).expect("a sane size");
    let info = Info::new(b"file", geometry, hashes.into(), false).expect("a hash for each piece").encode();
    (Torrent::decode(&encode_torrent("http://tracker/announce", &info)).expect("a torrent"), data)
}

/// A seeder's side, with a peer that is about to download a torrent of two pieces.
struct Script {
    torrent: Torrent,
    data: Vec<u8>,
    peer: Peer,
    tally: Tally,
    now: Instant,
}

impl Script {
    fn new(depth: u32, fast: bool) -> Self {
        let (torrent, data) = torrent(2);
        let now = Instant::now();
        let peer = Peer::new(&torrent, [1; 20], depth, Walk::once(&torrent, 0, 1), true, now);
        let mut script = Self { torrent, data, peer, tally: Tally::new().expect("sane bounds"), now };
        script.peer.out.clear();
        let (info_hash, peer_id) = (script.torrent.info_hash(), [2; 20]);
        script.say(&Handshake { info_hash, peer_id, fast, extended: true }.encode());
        script.peer.out.clear();
        script
    }

    fn say(&mut self, bytes: &[u8]) {
        self.peer
            .received(&self.torrent, bytes, self.now, &mut self.tally)
            .expect("it keeps to the protocol");
    }

    fn send(&mut self, block: Block) {
        let range = self.torrent.range(block).expect("it is in the file");
        let message = [&piece_header(block), &self.data[range]].concat();
        self.say(&message);
    }

    /// What the peer has asked for since this was last called.
    fn asked(&mut self) -> Vec<Block> {
        let out = std::mem::take(&mut self.peer.out);
        out.chunks(REQUEST_LEN).filter_map(|request| wire::block(&request[5..])).collect()
    }
}

fn block(at: u32) -> Block {
    Block { piece: at / 4, begin: at % 4 * BLOCK_LEN, len: BLOCK_LEN }
}

#[test]
fn keeps_as_many_requests_under_way_as_it_may() {
    let mut script = Script::new(3, true);
    assert_eq!(script.asked(), []);
    script.say(&bare(id::UNCHOKE));
    assert_eq!(script.asked(), [block(0), block(1), block(2)]);
    script.send(block(0));
    assert_eq!(script.asked(), [block(3)]);
}

#[test]
fn checks_pieces_however_the_stream_is_cut() {
    let mut script = Script::new(8, true);
    script.say(&bare(id::UNCHOKE));
    // The second piece first, and something else in between.
    let mut stream = Vec::new();
    for at in [4, 5, 6, 7, 0, 1, 2, 3] {
        let range = script.torrent.range(block(at)).expect("it is in the file");
        stream.extend([&piece_header(block(at)), &script.data[range], &[0; 4], &bare(1)].concat());
    }
    *stream.last_mut().expect("it isn't empty") = id::CHOKE;
    let (start, rest) = stream.split_at(100);
    start.iter().for_each(|byte| script.say(&[*byte]));
    rest.chunks(4099).for_each(|part| script.say(part));
    assert_eq!(script.peer.checked(), (2, 0));
    assert!(script.peer.is_over());
    assert_eq!(script.tally.bytes, u64::from(2 * PIECE_LEN));
}

#[test]
fn tells_wrong_pieces() {
    let mut script = Script::new(8, true);
    script.say(&bare(id::UNCHOKE));
    script.data[5] ^= 1;
    (0..8).for_each(|at| script.send(block(at)));
    assert_eq!(script.peer.checked(), (1, 1));
}

#[test]
fn asks_again_for_what_was_refused_and_for_less_at_a_time() {
    let mut script = Script::new(3, true);
    script.say(&bare(id::UNCHOKE));
    script.asked();
    let mut reject = request(block(2));
    reject[4] = id::REJECT;
    script.say(&reject);
    assert_eq!(script.asked(), []);
    script.send(block(0));
    assert_eq!(script.asked(), [block(2)]);
}

#[test]
fn asks_again_for_what_a_choke_dropped() {
    let mut script = Script::new(2, false);
    script.say(&bare(id::UNCHOKE));
    assert_eq!(script.asked(), [block(0), block(1)]);
    script.say(&bare(id::CHOKE));
    script.say(&bare(id::UNCHOKE));
    assert_eq!(script.asked(), [block(0), block(1)]);
}

#[test]
fn asks_again_for_what_was_forgotten() {
    let mut script = Script::new(2, false);
    script.say(&bare(id::UNCHOKE));
    script.asked();
    script.now += FORGOTTEN_AFTER + Duration::from_millis(1);
    script.peer.tick(&script.torrent, script.now);
    assert_eq!(script.asked(), [block(0)]);
}

#[test]
fn asks_for_no_more_than_the_seeder_takes() {
    let mut script = Script::new(8, true);
    let body = [&[id::EXTENDED, 0][..], b"d1:md11:ut_metadatai1ee4:reqqi2e1:v1:xe"].concat();
    script.say(&[&(body.len() as u32).to_be_bytes(), &body[..]].concat());
    script.say(&bare(id::UNCHOKE));
    assert_eq!(script.asked(), [block(0), block(1)]);
}

#[test]
fn refuses_data_that_is_not_in_the_torrent() {
    let mut script = Script::new(8, true);
    let beyond = Block { piece: 2, begin: 0, len: BLOCK_LEN };
    let header = piece_header(beyond);
    assert!(script.peer.received(&script.torrent, &header, script.now, &mut script.tally).is_err());
}
