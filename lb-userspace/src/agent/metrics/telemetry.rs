//! Where the agent answers over HTTP, and with which pages.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_core::ids::NodeName;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep};

use super::page::Page;
use super::{Metrics, rates};
use crate::agent::{addresses, sessions};
use crate::telemetry::endpoint::{Chore, Endpoint, Json};
use crate::telemetry::exposition::{Compat, Exposition};

/// How long an agent that ends may take to give its port free to the one that follows it.
const PORT_FREED: Duration = Duration::from_secs(2);

/// The agent's metrics, and where they are answered.
pub struct Telemetry {
    /// The metrics.
    pub metrics: Metrics,
    exposition: Exposition,
    address: Option<SocketAddr>,
    page: Arc<Page>,
}

impl Telemetry {
    /// Of the agent of a node, for Services of this class, answered at this address or nowhere.
    pub fn new(
        node: &NodeName,
        lb_class: Option<String>,
        address: Option<SocketAddr>,
        compat: Compat,
    ) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry, node);
        let (health, table) = (metrics.health.clone(), Arc::clone(&metrics.table));
        let page = Arc::new(Page::new(node, lb_class, health, table, metrics.peers.clone()));
        Self { metrics, exposition: Exposition::new(Arc::new(registry), compat), address, page }
    }

    /// Begins to answer, if there is an address.
    pub(in crate::agent) fn answer(&self) -> io::Result<Option<Endpoint>> {
        let start = |address| {
            let (peers, page, looks) =
                (self.metrics.peers.clone(), Arc::clone(&self.page), Arc::clone(&self.page));
            let peers = move |_: &str| serde_json::to_string(&peers.page()).unwrap_or_default();
            let pages = vec![
                Json { path: sessions::PATH, text: Arc::new(peers) },
                Json { path: addresses::PATH, text: Arc::new(move |query| page.text(query)) },
            ];
            let chore = Chore { every: rates::INTERVAL, what: Box::new(move || looks.look()) };
            let (exposition, health) = (self.exposition.clone(), self.metrics.health.clone());
            Endpoint::start(address, exposition, health, pages, chore)
        };
        self.address.map(start).transpose()
    }

    /// Begins to answer unless that was done before; the port may be that of an agent that is about to be gone.
    pub(in crate::agent) async fn answer_after(
        &self,
        before: io::Result<Option<Endpoint>>,
    ) -> io::Result<Option<Endpoint>> {
        let end = Instant::now() + PORT_FREED;
        let mut answer = before;
        while let Err(error) = &answer
            && error.kind() == ErrorKind::AddrInUse
            && Instant::now() < end
        {
            sleep(Duration::from_millis(50)).await;
            answer = self.answer();
        }
        answer
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("address", &self.address).finish_non_exhaustive()
    }
}
