//! The client of a trial: ARP, neighbour solicitations and datagrams, each a thousand times a second.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use super::echo::EchoClient;
use super::seen::{Mark, Seen, Way, Ways};
use super::{PORT, System};
use crate::bench::cpu;
use crate::client::{ProbeClient, ProbeConfig, Request};
use crate::link::mac_text;

/// Between two requests for an address, each way.
const PACE: Duration = Duration::from_millis(1);
/// Requests looked at to see who answers now.
const RECENT: usize = 400;
/// By how much the clock of the times may have been set while they were taken.
const MOST_STEP: Duration = Duration::from_millis(1);

/// Asks, from its start to its end.
pub(super) struct Watch {
    probe: ProbeClient,
    echo: EchoClient,
    vips: [IpAddr; 2],
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
}

impl Watch {
    pub(super) fn start(system: &dyn System) -> Result<Self> {
        let (client, vips) = (system.client(), system.vips());
        let per_second = u32::try_from(vips.len())? * 1000;
        let step = clock_difference();
        Ok(Self {
            probe: ProbeClient::start_from_few(client, ProbeConfig { targets: vips.to_vec(), per_second })?,
            echo: EchoClient::start(client.namespace(), &vips, PORT, PACE)?,
            vips,
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
        let (asked, echoed) = (self.probe.latest(RECENT), self.echo.latest(RECENT));
        self.vips.iter().all(|vip| others(&asked, vip) && others(&echoed, vip))
    }

    /// Ends asking; what was seen.
    pub(super) fn stop(self, fault: &Fault) -> Result<Ways> {
        let (probe_began, echo_began) = (self.probe.started_at(), self.echo.started_at());
        let echoed = self.echo.stop()?;
        let echo_end = SystemTime::now().duration_since(echo_began).unwrap_or_default();
        let report = self.probe.stop()?;
        ensure!(report.socket_drops == 0, "the client's socket lost {} frames", report.socket_drops);
        for mac in report.by_mac.keys() {
            ensure!(self.macs.contains(mac), "{} answers, which is no node", mac_text(*mac));
        }
        let step = clock_difference().abs_diff(self.step);
        ensure!(step <= MOST_STEP, "the clock was set by {step:?} during the trial");
        let mark = |began: SystemTime| Mark {
            at: fault.at.duration_since(began).unwrap_or_default(),
            before: fault.before.clone(),
        };
        let of = |requests: &[Request], vip: IpAddr, mark: &Mark, end| {
            let some: Vec<_> = requests.iter().filter(|request| request.target == vip).copied().collect();
            Seen::of(&some, mark, end)
        };
        let (probed, echo_mark) = (mark(probe_began), mark(echo_began));
        let [v4, v6] = self.vips;
        Ok(Ways::from([
            (Way::Arp, of(&report.requests, v4, &probed, report.duration)),
            (Way::Ns, of(&report.requests, v6, &probed, report.duration)),
            (Way::Udp4, of(&echoed, v4, &echo_mark, echo_end)),
            (Way::Udp6, of(&echoed, v6, &echo_mark, echo_end)),
        ]))
    }
}

/// Of the time of day from the clock that is never set.
fn clock_difference() -> Duration {
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    day.saturating_sub(Duration::from_nanos(cpu::monotonic_ns()))
}
