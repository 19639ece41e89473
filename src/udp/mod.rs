//! The tracker over UDP (BEP 15), on the port of HTTP: takes packets in batches, has each answered at once, and keeps
//! nothing of who asks. What is answered is known to `desk`, how packets come and go to `socket` and `batch`.
//!
//! A packet gets one answer or none, and all answers of a batch are sent together. Where the system takes no more they
//! are dropped: who asked asks again.

mod batch;
mod desk;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::batch::{Answers, Batch, MAX_PACKETS};
use self::desk::{Desk, Fate};
use self::socket::Socket;
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
        let (mut batch, mut answers) = (Batch::new(socket.arrival), Answers::default());
        // Peers are drawn by it, which takes no secret.
        let mut rng = SmallRng::from_rng(&mut rand::rng());
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
            let fates = answer_all(&socket, &mut batch, &mut answers, &mut desk, &mut rng);
            for fate in fates.iter().take(batch.len()) {
                counters[*fate as usize].inc();
            }
        }
    }
}

/// Answers all packets of a batch. Says what became of each; of one whose sender can't be read there is nothing to be
/// said but that.
fn answer_all(
    socket: &Socket,
    batch: &mut Batch,
    answers: &mut Answers,
    desk: &mut Desk,
    rng: &mut SmallRng,
) -> [Fate; MAX_PACKETS] {
    let mut fates = [Fate::Malformed; MAX_PACKETS];
    let mut settle = |number: usize, fate| {
        if let Some(place) = fates.get_mut(number) {
            *place = fate;
        }
    };
    let now = Instant::now();
    answers.clear();
    for packet in batch.packets(socket.port) {
        let fate = answers.write(packet.number, |out| desk.answer(packet.bytes, packet.ends, now, rng, out));
        settle(packet.number, fate);
    }
    socket.send(batch, answers, |number| settle(number, Fate::Unsent));
    fates
}
