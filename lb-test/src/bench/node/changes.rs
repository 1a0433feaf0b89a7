//! From a write to the API server to the first answer on the wire.
//!
//! ```text
//!   write ──> API server ──> frame with the watch event ──> agent ──> announcement, answers ──> client
//!   t0                       at the node's interface                  at the client's interface
//! ```
//!
//! All times are of one clock, those of frames taken by the kernel. The agent sends its announcement right after the
//! table is written and in the same step, so from the frame to the announcement is what the agent takes, and a little
//! more.
#![expect(clippy::cast_precision_loss, reason = "nanoseconds of less than a day")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail, ensure};

use super::api::Call;
use super::bed::{Bed, Endpoint as Place, Web, server};
use crate::bench::document::{Goal, Page};
use crate::bench::stats::quantile;
use crate::cluster::NodeAgent;
use crate::wire::{Endpoint, Frame, arp_request, neighbour_solicitation};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// Addresses that the node announces all the time, as most nodes have some.
const OTHERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x101)),
];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// Of the API server.
const PORT: [u8; 2] = 6443_u16.to_be_bytes();
/// Between two questions.
const ASK: Duration = Duration::from_millis(1);
/// Questions in a row without an answer that make a silence.
const SILENT: u32 = 20;
/// After a silence, for what is still said about it in the API; and a little more, other each time.
const PAUSE: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(30);

/// One change.
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) on: Call,
    pub(super) off: Call,
}

/// Milliseconds, by family.
#[derive(Default)]
pub(super) struct Times {
    /// From the write to the first answer.
    pub(super) answered: [Vec<f64>; 2],
    /// From the write to the frame with the event.
    pub(super) told: [Vec<f64>; 2],
    /// From the frame with the event to the announcement.
    pub(super) inside: [Vec<f64>; 2],
}

/// The Service that is changed, of the node's own addresses' network.
pub(super) fn web(policy: &'static str) -> Web<'static> {
    const IPS: [IpAddr; 2] = [IpAddr::V4(V4), IpAddr::V6(V6)];
    let endpoint = Place { node: 0, ready: true };
    Web { namespace: "default", name: "web", policy, ips: &IPS, endpoint }
}

/// Adds the table and the goals.
pub(super) fn measure(page: &mut Page, trials: u32) -> Result<()> {
    let bed = Bed::new(1, &["192.0.2.100/31", "2001:db8::100/127"])?;
    let (web, other) = (web("Local"), Web { name: "other", ips: &OTHERS, ..web("Cluster") });
    let all = [web.create(), web.slice(), other.create(), other.slice(), other.assign(true)];
    all.iter().try_for_each(|call| bed.api.call(call))?;
    let agent = bed.agent(0, &[])?;
    page.add(&format!("\n## From a write to an answer\n\nTrials: {trials} of each change, and a quarter of that for the first address.\n"));
    let mut rows = Vec::new();
    // With an endpoint there, addresses come; with addresses there, an endpoint comes.
    let changes = [
        Change { what: "the status gets its addresses", on: web.assign(true), off: web.assign(false) },
        Change { what: "the node gets an endpoint", on: web.ready(true), off: web.ready(false) },
    ];
    for change in &changes {
        let times = watch(&bed, &agent, change, trials)?;
        rows.extend(times.rows(change.what));
        page.goals.extend(times.goals(change.what));
        bed.api.call(&change.on)?;
    }
    // Without the other Service the node has no address at all, and its link no program, before the change.
    bed.api.call(&other.assign(false))?;
    let [_, endpoint] = changes;
    let first = Change { what: "the same, and it is the first address of the node", ..endpoint };
    rows.extend(watch(&bed, &agent, &first, trials / 4)?.rows(first.what));
    page.table(&HEAD, rows);
    agent.stop()
}

pub(super) const HEAD: [&str; 5] = [
    "change",
    "family",
    "write to answer: p50 / p99 / most",
    "write to the event at the node",
    "event to the announcement",
];

impl Times {
    pub(super) fn rows(&self, what: &str) -> Vec<Vec<String>> {
        let row = |index: usize| {
            let [answered, told, inside] =
                [&self.answered, &self.told, &self.inside].map(|all| text(&all[index]));
            vec![what.to_owned(), FAMILIES[index].to_owned(), answered, told, inside]
        };
        [0, 1].map(row).to_vec()
    }

    fn goals(&self, what: &str) -> Vec<Goal> {
        let goal = |index: usize| {
            let (answered, inside) =
                (quantile(&self.answered[index], 0.99), quantile(&self.inside[index], 0.99));
            [
                Goal {
                    text: format!("{what}: first answer, {}, p99 ≤ 20 ms", FAMILIES[index]),
                    measured: format!("{answered:.1} ms"),
                    met: answered <= 20.0,
                    tried: "API server, etcd, agent and client share two processors here",
                },
                Goal {
                    text: format!("{what}: of it in the agent, {}, p99 ≤ 1 ms", FAMILIES[index]),
                    measured: format!("{inside:.2} ms"),
                    met: inside <= 1.0,
                    tried: "no timer and no tidying up is on the way any more; the interfaces are listed each time, and the \
                            API server still writes to its store and its log on the same processors",
                },
            ]
        };
        [0, 1].into_iter().flat_map(goal).collect()
    }
}

fn text(values: &[f64]) -> String {
    let [half, most_of, all] = [0.5, 0.99, 1.0].map(|share| quantile(values, share));
    format!("{half:.2} / {most_of:.2} / {all:.2} ms")
}

/// Makes the change so many times.
pub(super) fn watch(bed: &Bed, agent: &NodeAgent, change: &Change, trials: u32) -> Result<Times> {
    let client = Client { wire: Endpoint::open(&bed.client.a)?, mac: bed.client.a.mac() };
    let node = Endpoint::open(&bed.machines[0].cable.a)?;
    let mut times = Times::default();
    for number in 0..trials {
        bed.api.call(&change.off)?;
        client.wait_for_silence()?;
        // Not in step with anything.
        thread::sleep(PAUSE + Duration::from_millis(u64::from(number * 37 % 100)));
        let line = bed.api.connect()?;
        node.drain()?;
        client.wire.drain()?;
        let (began, heard) = thread::scope(|scope| {
            let write = scope.spawn(|| line.call(&change.on));
            let heard = client.listen();
            match write.join() {
                Ok(began) => Ok((began?, heard?)),
                Err(_) => bail!("the writer panicked"),
            }
        })
        .map_err(|error: anyhow::Error| error.context(agent.tail()))?;
        let event = event(&node, began)?;
        for (index, Heard { answered, announced }) in heard.into_iter().enumerate() {
            let (Some(answered), Some(announced)) = (answered, announced) else { continue };
            times.answered[index].push(milliseconds(began, answered));
            times.told[index].push(milliseconds(began, event));
            times.inside[index].push(milliseconds(event, announced));
        }
    }
    Ok(times)
}

/// When the first frame of the API server's with something in it came after the write. Earlier than the event it can only
/// make the time inside the agent longer.
fn event(node: &Endpoint, began: SystemTime) -> Result<SystemTime> {
    while let Some(frame) = node.receive(Instant::now())? {
        if frame.at >= began && is_from_server(&frame.bytes) {
            return Ok(frame.at);
        }
    }
    bail!("no frame of the API server's came to the node")
}

fn is_from_server(frame: &[u8]) -> bool {
    let IpAddr::V4(server) = server() else { return false };
    let Some((head, rest)) = frame.get(14..).and_then(|packet| packet.split_at_checked(20)) else {
        return false;
    };
    let is_tcp = frame[12..14] == [8, 0] && head[0] == 0x45 && head[9] == 6;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let data_at = rest.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    is_tcp && head[12..16] == server.octets() && rest.starts_with(&PORT) && length > 20 + data_at
}

/// What was heard of one family.
#[derive(Clone, Copy, Default)]
struct Heard {
    answered: Option<SystemTime>,
    announced: Option<SystemTime>,
}

/// Who asks for both addresses.
struct Client {
    wire: Endpoint,
    mac: [u8; 6],
}

impl Client {
    /// Asks until both families were answered and announced.
    fn listen(&self) -> Result<[Heard; 2]> {
        let mut heard = [Heard::default(); 2];
        let deadline = Instant::now() + LIMIT;
        while heard.iter().any(|one| one.answered.is_none() || one.announced.is_none()) {
            ensure!(Instant::now() < deadline, "no answer and announcement of both families in {LIMIT:?}");
            self.ask()?;
            let end = Instant::now() + ASK;
            while let Some(frame) = self.wire.receive(end)? {
                note(&frame, self.mac, &mut heard);
            }
        }
        Ok(heard)
    }

    fn wait_for_silence(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut unanswered = 0;
        while unanswered < SILENT {
            ensure!(Instant::now() < deadline, "still answered after {LIMIT:?}");
            self.ask()?;
            let (end, mut heard) = (Instant::now() + ASK, [Heard::default(); 2]);
            while let Some(frame) = self.wire.receive(end)? {
                note(&frame, self.mac, &mut heard);
            }
            unanswered = if heard.iter().all(|one| one.answered.is_none()) { unanswered + 1 } else { 0 };
        }
        Ok(())
    }

    fn ask(&self) -> Result<()> {
        self.wire.send(&arp_request(self.mac, Ipv4Addr::new(192, 0, 2, 10), V4))?;
        let own = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
        self.wire.send(&neighbour_solicitation(self.mac, own, V6))
    }
}

/// Takes note of a frame that answers for one of the addresses or announces it, the first time.
fn note(frame: &Frame, own: [u8; 6], heard: &mut [Heard; 2]) {
    let Some((family, is_answer)) = kind(&frame.bytes, own) else { return };
    let one = &mut heard[family];
    let slot = if is_answer { &mut one.answered } else { &mut one.announced };
    slot.get_or_insert(frame.at);
}

/// The family that a frame speaks of, and whether it answers the client.
fn kind(frame: &[u8], own: [u8; 6]) -> Option<(usize, bool)> {
    match frame.get(12..14)? {
        [8, 6] => {
            let arp = frame.get(14..42)?;
            let announces = arp[24..28] == V4.octets();
            let answers = frame[..6] == own && arp[7] == 2;
            (arp[14..18] == V4.octets() && (announces || answers)).then_some((0, !announces))
        }
        [0x86, 0xdd] => {
            let is_advertisement = frame.get(54)? == &136 && frame.get(62..78)? == V6.octets();
            is_advertisement.then(|| (1, frame[58] & 0x40 != 0))
        }
        _ => None,
    }
}

fn milliseconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_nanos() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 10];

    #[test]
    fn answers_and_announcements_are_told_apart() {
        let mut arp = arp_request([2, 0, 0, 0, 0, 11], V4, V4);
        assert_eq!(kind(&arp, OWN), Some((0, false)), "request form");
        arp[21] = 2;
        assert_eq!(kind(&arp, OWN), Some((0, false)), "reply form");
        arp[..6].copy_from_slice(&OWN);
        arp[38..42].copy_from_slice(&[192, 0, 2, 10]);
        assert_eq!(kind(&arp, OWN), Some((0, true)));
        assert_eq!(kind(&arp, [0; 6]), None, "for somebody else");
        let mut advertisement = neighbour_solicitation([2, 0, 0, 0, 0, 11], V6, V6);
        assert_eq!(kind(&advertisement, OWN), None, "a question");
        advertisement[54] = 136;
        assert_eq!(kind(&advertisement, OWN), Some((1, false)));
        advertisement[58] = 0x60;
        assert_eq!(kind(&advertisement, OWN), Some((1, true)));
    }

    #[test]
    fn the_servers_frames_are_those_with_something_in_them() {
        let mut frame = vec![0; 14 + 20 + 20];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[17], frame[23]) = (0x45, 40, 6);
        frame[26..30].copy_from_slice(&[192, 0, 2, 2]);
        frame[34..36].copy_from_slice(&PORT);
        frame[46] = 0x50;
        assert!(!is_from_server(&frame), "an acknowledgement");
        frame[17] = 41;
        frame.push(23);
        assert!(is_from_server(&frame));
        frame[29] = 3;
        assert!(!is_from_server(&frame), "of another machine");
    }
}
