//! What scripts and pages are told of torrents and peers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::files::{Contents, KIB, PIECE};
use crate::support::seed::Seed;
use crate::support::server::Server;
use crate::support::two_disks::TwoDisks;
use crate::support::wait_for;
use crate::support::wire::{Peer, handshake_of, id, numbers};

fn get(server: &Server, target: &str) -> Value {
    let response = server.get(target).expect(200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).expect("it is JSON")
}

fn hex(info_hash: [u8; 20]) -> String {
    info_hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn torrents_are_listed_page_by_page() {
    let seed = Seed::of(KIB);
    let mut names: BTreeSet<String> = (0..5).map(|n| format!("sub dir/{n}")).collect();
    std::fs::create_dir(seed.directory().join("sub dir")).expect("a directory can be made");
    for name in &names {
        Contents::new(7, 100).write(seed.directory().join(name));
        seed.server.torrent(name);
    }
    names.insert("file".to_owned());
    let mut listed = Vec::new();
    let mut target = Some("/api/v1/torrents?limit=2".to_owned());
    while let Some(page) = target.map(|target| get(&seed.server, &target)) {
        let torrents = page["torrents"].as_array().expect("a list");
        assert!(torrents.len() <= 2);
        listed.extend(torrents.iter().map(|torrent| torrent["name"].as_str().expect("a name").to_owned()));
        target = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(listed, names.into_iter().collect::<Vec<_>>());
    for wrong in ["torrents?limit=0", "torrents?after=../x", "peers?info_hash=12", "peers?after=x"] {
        seed.server.get(format!("/api/v1/{wrong}")).expect_sentence(400);
    }
}

#[test]
fn hashing_tells_how_far_it_is() {
    let contents = Contents::new(1, 3 * PIECE);
    let disks = TwoDisks::with(&[("slow", &contents)], |faulty| faulty.hold("slow"), |setup| setup);
    disks.faulty.wait_until_any_held();
    let hashing = || get(&disks.server, "/api/v1/hashing");
    let before = hashing();
    assert_eq!((&before["files_left"], &before["bytes_left"]), (&json!(1), &json!(3 * PIECE)));
    disks.faulty.heal("slow");
    wait_for("the file to be hashed", || (hashing()["files_left"] == json!(0)).then_some(()));
    let after = hashing();
    assert_eq!(after["bytes_left"], json!(0));
    // With those of the other disk, if that was not done before.
    assert!(after["bytes_done"].as_u64() >= Some(3 * PIECE as u64), "{after}");
}

#[test]
fn a_torrent_tells_how_much_of_it_went_out_and_a_peer_who_it_is() {
    let seed = Seed::of(3 * PIECE);
    let torrent = || get(&seed.server, "/api/v1/torrents")["torrents"][0].clone();
    let peers =
        || get(&seed.server, &format!("/api/v1/peers?info_hash={}", hex(seed.info_hash)))["peers"].clone();
    let untouched = torrent();
    for (key, value) in [
        ("name", json!("file")),
        ("info_hash", json!(hex(seed.info_hash))),
        ("size", json!(3 * PIECE)),
        ("pieces", json!(3)),
        ("peers", json!(0)),
        ("requests", json!(0)),
        ("uploaded", json!(0)),
        ("rate", json!(0)),
        ("pieces_sent", json!(0)),
        ("last_first_sent", json!(null)),
    ] {
        assert_eq!(untouched[key], value, "{key}");
    }
    assert_eq!(peers(), json!([]));

    let mut peer = Peer::connect(seed.server.peers());
    peer.send(&handshake_of([0; 8], seed.info_hash, b"-XX0001-\0bcdefghijkl"));
    peer.read(68);
    peer.send(&[numbers(id::HAVE, &[2]), numbers(id::INTERESTED, &[])].concat());
    peer.message_with(id::UNCHOKE);
    for _ in 0..2 {
        peer.fetch(0, 0, 65_536);
        peer.fetch(1, 0, 16_384);
    }
    let uploaded = 2 * (65_536 + 16_384);
    let counted = wait_for("what was sent to be counted", || {
        Some(torrent()).filter(|torrent| torrent["uploaded"].as_u64() >= Some(uploaded))
    });
    assert_eq!((&counted["peers"], &counted["pieces_sent"]), (&json!(1), &json!(2)));
    assert!(counted["last_first_sent"].as_f64() > Some(1.7e9), "{counted}");
    assert!(counted["copies"].as_f64() > Some(0.8), "{counted}");
    let pieces =
        |page: &str| get(&seed.server, &format!("/api/v1/pieces?info_hash={}{page}", hex(seed.info_hash)));
    let all = pieces("");
    assert_eq!((all["pieces"].as_array().map(Vec::len), &all["next"]), (Some(3), &json!(null)));
    for (piece, went_out) in [(0, true), (1, true), (2, false)] {
        let said = &all["pieces"][piece];
        assert_eq!(
            (&said["piece"], said["first_sent"].as_f64() > Some(1.7e9)),
            (&json!(piece), went_out),
            "{all}"
        );
    }
    assert_eq!(pieces("&limit=2&after=0")["pieces"], json!([all["pieces"][1], all["pieces"][2]]));
    assert!(pieces("&limit=2")["next"].as_str().is_some_and(|next| next.ends_with("limit=2&after=1")));
    // Of what goes out from one sample to the next.
    wait_for("the rate to be seen", || {
        peer.fetch(0, 0, 16_384);
        (torrent()["rate"].as_u64() > Some(0)).then_some(())
    });
    let shown = peers();
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    for (key, value) in [
        ("address", json!(peer.address().to_string())),
        ("info_hash", json!(hex(seed.info_hash))),
        ("peer_id", json!("-XX0001-.bcdefghijkl")),
        ("dialled", json!(false)),
        ("encrypted", json!(false)),
        ("interested", json!(true)),
        ("unchoked", json!(true)),
        ("pieces", json!(1)),
        ("requests", json!(0)),
    ] {
        assert_eq!(shown[0][key], value, "{key}");
    }
    assert!(shown[0]["uploaded"].as_u64() >= Some(uploaded));
    assert_eq!(get(&seed.server, &format!("/api/v1/peers?info_hash={}", "0".repeat(40)))["peers"], json!([]));
    drop(peer);
    wait_for("the peer to be gone", || (peers() == json!([])).then_some(()));
    assert!(torrent()["uploaded"].as_u64() >= Some(uploaded), "what went out stays counted");
}
