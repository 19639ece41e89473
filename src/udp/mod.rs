//! The tracker over UDP (BEP 15), on the port of HTTP: takes packets in batches, has each answered at once, and keeps
//! nothing of who asks. What is answered is known to `desk`, how packets come and go to `socket`.
//!
//! A packet gets one answer or none. Where the system takes no more it is dropped: who asked asks again.

mod desk;
mod socket;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::desk::{Desk, Fate};
use self::socket::{Batch, Socket};
use crate::announce::Announces;
use crate::metrics::Metrics;

/// The pause after the system fails to receive; trying at once would spin.
const PAUSE: Duration = Duration::from_millis(500);

/// Everything that answers to packets are made from.
#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) announces: Arc<Announces>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: CancellationToken,
}

impl Udp {
    /// Answers packets until shutdown, on the thread that calls it. It has a runtime of its own: in the one that has
    /// several threads each wake-up is another's, too, and a flood would hold up connections.
    pub(crate) fn run(self, socket: UdpSocket) {
        let runtime = Builder::new_current_thread().enable_all().build();
        if let Err(error) = runtime.and_then(|runtime| runtime.block_on(self.serve(socket))) {
            error!(%error, "can't answer announces over UDP; --no-udp does without them");
        }
    }

    async fn serve(self, socket: UdpSocket) -> io::Result<()> {
        let socket = Socket::new(tokio::net::UdpSocket::from_std(socket)?)?;
        let mut desk = Desk::new(self.announces, rand::random(), Instant::now());
        let counters = Fate::ALL.map(|fate| self.metrics.udp_packets(fate.name()));
        let mut batch = Batch::default();
        loop {
            let received = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                received = socket.receive(&mut batch) => received,
            };
            if let Err(error) = received {
                warn!(%error, "can't receive packets; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            answer_all(&socket, &batch, &mut desk, &counters);
        }
    }
}

fn answer_all(socket: &Socket, batch: &Batch, desk: &mut Desk, counters: &[Counter; Fate::ALL.len()]) {
    let (now, rng) = (Instant::now(), &mut rand::rng());
    for packet in socket.packets(batch) {
        let (mut fate, answer) = desk.answer(packet.bytes, packet.ends(), now, rng);
        if answer.is_some_and(|answer| socket.send(answer, &packet).is_err()) {
            fate = Fate::Unsent;
        }
        counters[fate as usize].inc();
    }
}
