//! Failover, system by system: several nodes that share addresses, a fault, and a client that asks a thousand times a
//! second for each address by each protocol.
//!
//! ```text
//!   node-a .11     node-b .12     node-c .13     client .10
//!   daemon, echo   daemon, echo   daemon, echo   asks
//!     |              |              |              |
//!    port (loses)   port (loses)   port (loses)    |
//!   ════════════════════ br0 ═══════════════════════════      switch
//! ```
//!
//! A [`System`] is whatever lets one node own an address and another one take over: BareLB in a cluster, or keepalived.
//! A [`Case`] says what happens to the owner. [`Case::run`] is one trial: it waits until the first node in order owns
//! everything, does its deed at a random moment, watches until others answer, and takes the deed back.
//!
//! Times are from just before the fault to the kernel's receive time of a frame at the client.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::echo::EchoClient;
use crate::client::{ProbeClient, ProbeConfig};
use crate::link::{Interface, Veth, mac_text};
use crate::rig::LossyPort;

pub use self::barelb::Barelb;
pub use self::cases::{CASES, MAIN, case};
pub use self::connections::Fate;
pub use self::fault::Fault;
pub(crate) use self::hog::Hogs;
pub use self::keepalived::Keepalived;
pub use self::kind::{Kind, Purpose};
pub(crate) use self::seen::micros;
pub use self::seen::{Seen, Way, Ways};
pub(crate) use self::trial::lose;
pub use self::trial::{Background, Case};

mod barelb;
mod cases;
mod connections;
mod crowd;
mod echo;
mod fault;
mod hog;
mod keepalived;
mod kind;
mod seen;
mod trial;
mod watch;

/// The first node's host part in addresses.
const FIRST_NODE: u8 = 11;
/// The client's.
const CLIENT: u8 = 10;
/// Of the datagrams.
const PORT: u16 = 7;
/// Nodes of a system.
const NODES: u8 = 3;
/// For a system to be well after a fault: several times of the longest known.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long one look at the owner takes.
const GLANCE: Duration = Duration::from_millis(300);

/// Tells whether a node answers for any address.
pub type Table = Box<dyn Fn() -> Result<bool>>;

/// Nodes that share an address of each family, and a client.
pub trait System {
    /// The cables of the nodes: `a` is the node's end, `b` the port of the switch.
    fn cables(&self) -> Vec<Veth>;

    /// The client's end of its cable.
    fn client(&self) -> &Interface;

    /// The addresses: of IPv4, then of IPv6. One node owns both.
    fn vips(&self) -> [IpAddr; 2];

    /// Further addresses that the first node owns: none, or ten thousand.
    fn crowd(&self) -> &[IpAddr];

    /// Waits until nothing is written any more of what has happened.
    fn rest(&self) -> Result<()>;

    /// The nodes, the one that owns the addresses before the one that comes next.
    fn order(&self) -> Vec<usize>;

    /// The port of a node.
    fn port(&mut self, node: usize) -> Result<&mut LossyPort>;

    /// SIGKILL to all processes of the daemon of a node.
    fn kill(&mut self, node: usize) -> Result<()>;

    /// Starts the daemon of a node whose daemon has ended.
    fn start(&mut self, node: usize) -> Result<()>;

    /// SIGSTOP to all of them.
    fn freeze(&mut self, node: usize) -> Result<()>;

    /// SIGCONT to all of them.
    fn thaw(&mut self, node: usize) -> Result<()>;

    /// Has a node give away what it owns, as a person would; returns when that is asked for.
    fn hand_over(&mut self, node: usize) -> Result<()>;

    /// Tells by the node's own table whether it answers; none where there is no table.
    fn table(&self, node: usize) -> Result<Option<Table>>;

    /// Lets it own addresses again.
    fn take_back(&mut self, node: usize) -> Result<()>;

    /// Takes the API server away, or lets it be there; false where there is none.
    fn set_api(&mut self, is_there: bool) -> Result<bool>;

    /// The ends of the logs of all daemons.
    fn logs(&self) -> String;
}

impl dyn System + '_ {
    /// The hardware address of a node.
    pub fn mac(&self, node: usize) -> Result<[u8; 6]> {
        Ok(self.cables().get(node).context("no such node")?.a.mac())
    }

    /// Waits until exactly one node answers for both addresses; which one.
    pub fn owner(&self) -> Result<usize> {
        let macs: Vec<_> = self.cables().iter().map(|cable| cable.a.mac()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let config = ProbeConfig { targets: self.vips().to_vec(), per_second: 500 };
            let report = ProbeClient::start_from_few(self.client(), config)?.run_for(GLANCE)?;
            let by: Vec<_> = report.by_mac.keys().copied().collect();
            if report.missing.is_empty()
                && report.duplicates == 0
                && let [only] = by[..]
            {
                let node = macs.iter().position(|mac| *mac == only);
                return node.with_context(|| format!("{} answers, which is no node", mac_text(only)));
            }
            ensure!(Instant::now() < deadline, "no single owner: {}\n{}", report.summary(), self.logs());
        }
    }

    /// Waits until a node owns both addresses.
    pub fn is_owned_by(&self, node: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.owner()? != node {
            ensure!(Instant::now() < deadline, "node {node} does not get its addresses\n{}", self.logs());
        }
        Ok(())
    }

    /// Waits until the first node in order owns all addresses, and gets the client's datagrams.
    pub fn settle(&self) -> Result<()> {
        let first = *self.order().first().context("a system without nodes")?;
        let deadline = Instant::now() + PATIENCE;
        while self.owner()? != first || !self.echoes(first)? {
            if Instant::now() >= deadline {
                bail!("node {first} has not got its addresses back\n{}", self.logs());
            }
            thread::sleep(GLANCE);
        }
        if !self.crowd().is_empty() {
            self.is_crowded(first)?;
            self.rest()?;
            // Nobody in a network asks for ten thousand addresses: what a client uses was asked for after that sweep.
            ensure!(self.echoes(first)?, "node {first} has lost its addresses\n{}", self.logs());
        }
        Ok(())
    }

    /// Whether datagrams through both addresses are answered by this node.
    fn echoes(&self, node: usize) -> Result<bool> {
        let (mac, vips, namespace) = (self.mac(node)?, self.vips(), self.client().namespace());
        // Whom the client's kernel took for the owner before is no matter of the next trial.
        namespace.ip(&["neighbour", "flush", "all"])?;
        let client = EchoClient::start(namespace, &vips, PORT, Duration::from_millis(10))?;
        thread::sleep(GLANCE);
        let (requests, _end) = client.stop()?;
        let answers = |vip: &IpAddr| {
            let answers = requests.iter().filter(|one| one.target == *vip).filter_map(|one| one.answer);
            answers.map(|answer| answer.mac).collect::<Vec<_>>()
        };
        Ok(vips.iter().map(answers).all(|macs| !macs.is_empty() && macs.iter().all(|one| *one == mac)))
    }
}
