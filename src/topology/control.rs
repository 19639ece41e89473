//! The topology in force, and its changes.

use std::sync::Arc;

use tokio::sync::watch;

use super::Topology;

/// Where hosts are, as a server goes by it: seen and exchanged while it runs. Clones are the same control.
///
/// ```
/// use distributor::{Config, Server, TopologyBuilder};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let mut config = Config::new([directory.path()]);
/// # config.http.listen = "127.0.0.1:0".parse()?;
/// # config.seeder.listen = "127.0.0.1:0".parse()?;
/// let server = Server::bind(config).await?;
/// let topology = server.topology();
/// // … and later, while it runs:
/// let mut table = TopologyBuilder::default();
/// table.add("10.1.7.0/24".parse()?, &"dc1/row3/rack7".parse()?)?;
/// topology.replace(table.build());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TopologyControl(Arc<watch::Sender<Arc<Topology>>>);

impl TopologyControl {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self(Arc::new(watch::Sender::new(topology)))
    }

    /// The topology in force.
    pub fn get(&self) -> Arc<Topology> {
        Arc::clone(&self.0.borrow())
    }

    /// Has another take its place. No connection is closed by it; each is where the new one says from now on.
    pub fn replace(&self, topology: Topology) {
        self.0.send_replace(Arc::new(topology));
    }

    /// The topology, now and whenever it is exchanged. What is kept of the [places](super::Place) of one means
    /// nothing to the next.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.0.subscribe()
    }
}
