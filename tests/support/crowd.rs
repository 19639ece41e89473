//! Tens of thousands of hosts, each at an address of its own on loopback, that announce themselves all at once: no
//! client is run for them, and nobody listens where they say that they do.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::http::Response;
use super::tracker::{self, DOWNLOADER, Tracker, announce_target, encode_all};
use super::udp::{self, Announce, action, connect, packet_is_answer};

/// How long the whole crowd may take, on the busiest of machines. Lost packets are sent again within.
const PATIENCE: Duration = Duration::from_secs(400);
/// How long one host waits for an answer over UDP before it asks again, at first.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How many sockets the crowd has at a time, if the system has as many for it; where tests run side by side, the others
/// need some, too. With many more a busy machine would come back to the first ones when the server has lost its patience.
const MAX_SOCKETS: u64 = 2048;
/// The port of the first host. The others follow, so that each has one of its own and with it a peer id.
const FIRST_PORT: u16 = 10_000;

/// What one host was told.
pub(crate) struct Told {
    /// Where it says that it can be reached.
    pub(crate) host: SocketAddr,
    /// Seconds, as all intervals in answers.
    pub(crate) interval: i64,
    pub(crate) peers: Vec<SocketAddr>,
}

/// Where the n-th host is.
fn host(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    // Without those that end in 0 or 255 and the machine's own 127.0.0.1: no program takes these for a broadcast.
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 69, high, low)), FIRST_PORT + n)
}

/// Each announces itself over a connection of its own.
pub(crate) fn announces_over_http(tracker: &Tracker, hosts: u16) -> Vec<Told> {
    let (to, hash) = (tracker.server.http(), encode_all(&tracker.info_hash));
    all_at_once(hosts, move |host| {
        let target = announce_target(&hash, host.port(), &format!("{DOWNLOADER}&event=started"));
        async move {
            let answer = get(SocketAddr::new(host.ip(), 0), to, &target).await.expect("an answer");
            let answer = tracker::Answer::read(Response::read(&mut &answer[..], false).expect(200).body);
            Told { host, interval: answer.value.get("interval").integer(), peers: answer.peers() }
        }
    })
}

/// Each announces itself over UDP, and asks again where that gets lost.
pub(crate) fn announces_over_udp(tracker: &Tracker, hosts: u16) -> Vec<Told> {
    let (to, info_hash) = (tracker.server.http(), tracker.info_hash);
    all_at_once(hosts, move |host| async move {
        let socket = UdpSocket::bind((host.ip(), 0)).await.expect("a port is free");
        socket.connect(to).await.expect("a socket can be told whom to hear");
        let id = ask(&socket, &connect(1), action::CONNECT).await;
        let id = id.try_into().expect("an id has eight bytes");
        let announce = Announce::of(info_hash, host.port()).packet(id, 2);
        let answer = udp::Answer::read(&ask(&socket, &announce, action::ANNOUNCE).await, true);
        Told { host, interval: answer.interval.into(), peers: answer.peers }
    })
}

/// Has all hosts do the same thing at once, as far as there are sockets for them.
fn all_at_once<F>(hosts: u16, announce: impl Fn(SocketAddr) -> F) -> Vec<Told>
where
    F: Future<Output = Told> + Send + 'static,
{
    let sockets = Arc::new(Semaphore::new(sockets()));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let crowd = async {
        let mut crowd = JoinSet::new();
        for n in 1..=hosts {
            let socket = Arc::clone(&sockets).acquire_owned().await.expect("it is never closed");
            let announced = announce(host(n));
            crowd.spawn(async move {
                let _socket = socket;
                announced.await
            });
        }
        crowd.join_all().await
    };
    runtime.block_on(async { timeout(PATIENCE, crowd).await.expect("all are answered") })
}

/// How many sockets a crowd may have.
fn sockets() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let wanted = maximum.unwrap_or(u64::MAX).min(2 * MAX_SOCKETS);
    if current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum };
        setrlimit(Resource::Nofile, raised).expect("a process may open as many files as its hard limit says");
    }
    usize::try_from(current.unwrap_or(u64::MAX).max(wanted) / 2)
        .unwrap_or(usize::MAX)
        .min(MAX_SOCKETS as usize)
}

/// An answer to its end.
async fn get(from: SocketAddr, to: SocketAddr, target: &str) -> io::Result<Vec<u8>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    let mut stream = socket.connect(to).await?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// What a packet is answered behind the head that its answer must have.
async fn ask(socket: &UdpSocket, question: &[u8], action: u32) -> Vec<u8> {
    let mut wait = FIRST_WAIT;
    let mut answer = vec![0; 2048];
    loop {
        socket.send(question).await.expect("a packet can be sent");
        if let Ok(received) = timeout(wait, socket.recv(&mut answer)).await {
            let answer = &answer[..received.expect("the tracker is there")];
            if packet_is_answer(answer, question, action) {
                return answer[8..].to_vec();
            }
        }
        wait *= 2;
    }
}
