//! All attacks at the same time, again and again, by threads of their own, from as many addresses as are wanted.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Attack, Victim};
use crate::support::wire::Peer;

/// How long an attacker waits for an answer before it does something else.
const PATIENCE: Duration = Duration::from_millis(500);

/// How it is attacked.
#[derive(Clone, Copy)]
pub(crate) struct Strength {
    pub(crate) threads: u32,
    /// Connections that each thread leaves open, unread, until it has more.
    pub(crate) left_open: usize,
    /// Of each thread. When all are used it begins anew.
    pub(crate) addresses: u32,
    /// Attacks a second of each thread, as far as it gets to that.
    pub(crate) pace: u32,
}

impl Strength {
    /// The most connections that it has at a time.
    pub(crate) fn connections(&self) -> u64 {
        u64::from(self.threads) * (self.left_open as u64 + 1)
    }
}

/// Goes on until it is ended.
pub(crate) struct Storm {
    over: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Storm {
    pub(crate) fn start(victims: &[Victim], strength: Strength) -> Self {
        let (over, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..strength.threads).map(|number| {
            let (over, tried, victims) = (Arc::clone(&over), Arc::clone(&tried), victims.to_vec());
            thread::spawn(move || attack(number, &victims, strength, &over, &tried))
        });
        Self { threads: threads.collect(), over, tried }
    }

    /// How many attacks there were so far.
    pub(crate) fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    /// Ends it, and returns how many attacks there were.
    pub(crate) fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("an attacker doesn't panic");
        }
        self.tried.load(Ordering::Relaxed)
    }
}

/// What one thread does, starting at another place in the tables than the others.
fn attack(number: u32, victims: &[Victim], strength: Strength, over: &AtomicBool, tried: &AtomicU64) {
    let attacks: Vec<(Victim, Attack)> = victims
        .iter()
        .flat_map(|victim| victim.attacks().into_iter().map(|attack| (*victim, attack)))
        .collect();
    let skipped = attacks.len() * number as usize / strength.threads as usize;
    let addresses = (0..strength.addresses).cycle().map(|address| host(number, address));
    let mut open: VecDeque<Peer> = VecDeque::new();
    let started = Instant::now();
    for (count, ((victim, attack), from)) in
        (0_u32..).zip(attacks.iter().cycle().skip(skipped).zip(addresses))
    {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // A seeder that hangs up early has done nothing wrong.
        if let Ok(mut approached) = victim.approach(attack.after, from, PATIENCE) {
            let _ = approached.send(&attack.sends);
            open.push_back(approached.peer);
        }
        if open.len() > strength.left_open {
            let oldest = open.pop_front();
            // Half of them end in the way of a process that is killed.
            if count % 2 == 0
                && let Some(oldest) = oldest
            {
                oldest.reset();
            }
        }
        tried.fetch_add(1, Ordering::Relaxed);
        let due = started + Duration::from_secs(1) * (count + 1) / strength.pace;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Attackers are in 127.1.0.0/16 to 127.254.0.0/16, honest peers are not.
fn host(thread: u32, address: u32) -> IpAddr {
    let [_, _, high, low] = (address + 1).to_be_bytes();
    let second = 1 + thread % 254;
    IpAddr::V4(Ipv4Addr::new(127, second as u8, high, low))
}
