//! The client of a trial: ARP, neighbour solicitations and datagrams, each a thousand times a second.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use super::echo::EchoClient;
use super::seen::{Mark, Seen, Way, Ways};
use super::{PORT, System, crowd};
use crate::bench::cpu;
use crate::client::{ProbeClient, ProbeConfig, Request};
use crate::link::mac_text;

/// Between two requests for an address, each way.
const PACE: Duration = Duration::from_millis(1);
/// Requests for each address looked at to see who answers now.
const RECENT: usize = 100;
/// By how much the clock of the times may have been set while they were taken.
const MOST_STEP: Duration = Duration::from_millis(1);

/// Asks, from its start to its end.
pub(super) struct Watch {
    probe: ProbeClient,
    echo: EchoClient,
    vips: [IpAddr; 2],
    /// What is asked for by ARP and neighbour discovery.
    targets: Vec<IpAddr>,
    macs: Vec<[u8; 6]>,
    step: Duration,
}

/// The fault, by the client's clock.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Just before it was done.
    pub(super) at: SystemTime,
    /// Who may have answered before.
    pub(super) before: Vec<[u8; 6]>,
    /// From then until the owner's own table answered for nothing, where that was looked at.
    pub(super) silent: Option<Duration>,
}

impl Watch {
    pub(super) fn start(system: &dyn System) -> Result<Self> {
        let (client, vips) = (system.client(), system.vips());
        let (targets, pace) = match system.crowd() {
            [] => (vips.to_vec(), PACE),
            crowd => (crowd::sample(crowd), crowd::PACE),
        };
        let pace_of_all = pace / u32::try_from(targets.len())?;
        let per_second = u32::try_from(Duration::from_secs(1).as_nanos() / pace_of_all.as_nanos().max(1))?;
        let step = clock_difference();
        Ok(Self {
            probe: ProbeClient::start_from_few(client, ProbeConfig { targets: targets.clone(), per_second })?,
            echo: EchoClient::start(client.namespace(), &vips, PORT, PACE)?,
            vips,
            targets,
            macs: system.cables().iter().map(|cable| cable.a.mac()).collect(),
            step,
        })
    }

    /// Whether every address has lately been answered, each way, by one that is none of these.
    pub(super) fn is_with_others(&self, than: &[[u8; 6]]) -> bool {
        let others = |requests: &[Request], vip: &IpAddr| {
            let mut answers = requests.iter().filter(|request| request.target == *vip);
            answers.any(|request| request.answer.is_some_and(|answer| !than.contains(&answer.mac)))
        };
        let (asked, echoed) = (self.probe.latest(RECENT * self.targets.len()), self.echo.latest(RECENT * 2));
        self.targets.iter().all(|vip| others(&asked, vip)) && self.vips.iter().all(|vip| others(&echoed, vip))
    }

    /// Ends asking; what was seen.
    pub(super) fn stop(self, fault: &Fault) -> Result<Ways> {
        let (probe_began, echo_began) = (self.probe.started_at(), self.echo.started_at());
        let (echoed, echo_end) = self.echo.stop()?;
        let report = self.probe.stop()?;
        ensure!(report.socket_drops == 0, "the client's socket lost {} frames", report.socket_drops);
        for mac in report.by_mac.keys() {
            ensure!(self.macs.contains(mac), "{} answers, which is no node", mac_text(*mac));
        }
        let step = clock_difference().abs_diff(self.step);
        ensure!(step <= MOST_STEP, "the clock was set by {step:?} during the trial");
        let mark = |began: SystemTime, silent| Mark {
            at: fault.at.duration_since(began).unwrap_or_default(),
            before: fault.before.clone(),
            silent,
        };
        let of = |requests: &[Request], is_v4: bool, mark: &Mark, end| {
            let some = requests.iter().filter(|request| request.target.is_ipv4() == is_v4);
            Seen::of(&some.copied().collect::<Vec<_>>(), mark, end)
        };
        let (probed, echo_mark) = (mark(probe_began, fault.silent), mark(echo_began, None));
        Ok(Ways::from([
            (Way::Arp, of(&report.requests, true, &probed, report.duration)),
            (Way::Ns, of(&report.requests, false, &probed, report.duration)),
            (Way::Udp4, of(&echoed, true, &echo_mark, echo_end)),
            (Way::Udp6, of(&echoed, false, &echo_mark, echo_end)),
        ]))
    }
}

/// Of the time of day from the clock that is never set.
fn clock_difference() -> Duration {
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    day.saturating_sub(Duration::from_nanos(cpu::monotonic_ns()))
}
