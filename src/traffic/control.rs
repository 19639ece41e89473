//! The rates in force, and their changes.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::UploadRates;

/// How fast a server uploads: seen and changed while it runs. Clones are the same control.
///
/// ```
/// use distributor::{Config, Server, UploadRate};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let mut config = Config::new([directory.path()]);
/// # config.http.listen = "127.0.0.1:0".parse()?;
/// # config.seeder.listen = "127.0.0.1:0".parse()?;
/// let server = Server::bind(config).await?;
/// let rates = server.upload_rates();
/// // … and later, while it runs:
/// rates.change(|rates| rates.total = UploadRate::new(10_000_000));
/// assert_eq!(rates.get().total.to_string(), "10000000");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateControl(Arc<watch::Sender<UploadRates>>);

impl RateControl {
    pub(crate) fn new(rates: UploadRates) -> Self {
        Self(Arc::new(watch::Sender::new(rates)))
    }

    /// The rates in force.
    pub fn get(&self) -> UploadRates {
        *self.0.borrow()
    }

    /// Changes them, for all connections there are; none is closed by it.
    pub fn change(&self, change: impl FnOnce(&mut UploadRates)) {
        self.0.send_modify(change);
    }

    /// The rates, now and whenever they change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<UploadRates> {
        self.0.subscribe()
    }
}
