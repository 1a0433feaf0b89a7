//! A client that asks for addresses at a steady rate and misses nothing.
//!
//! Every request has a sender address of its own, which its answer has to name: so each answer belongs to exactly
//! one request, and an answer that is merely slow is not taken for the answer to a later request. Clients that run at the
//! same time do not share these addresses.
//!
//! ```text
//! sender thread ──> requests (shared) <── receiver thread, kernel receive times
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};

use crate::bench::cpu::{self, Priority};
use crate::link::Interface;
use crate::wire::{Endpoint, Frame, arp_request, neighbour_solicitation};

pub use self::report::{Answer, Report, Request};

mod report;

/// How long an answer may take before it is late; the client listens this long after its last request.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// The receiver looks this often whether it should end.
const POLL: Duration = Duration::from_millis(50);

/// Clients that can be told apart, in bits.
const CLIENT_BITS: u32 = 6;
/// Requests of one client until their sender addresses repeat, in bits.
const NUMBER_BITS: u32 = 24 - CLIENT_BITS;

/// Sender addresses of a client that has few. Linux remembers who asked it, 1024 at most and for at least five seconds.
const FEW: u32 = 128;

/// Clients so far.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// What to ask, and how often.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Asked in turn, IPv4 by ARP and IPv6 by neighbour solicitation.
    pub targets: Vec<IpAddr>,
    /// Requests a second over all targets together.
    pub per_second: u32,
}

/// A running client; its threads end when it is dropped.
#[derive(Debug)]
pub struct ProbeClient {
    started: Instant,
    started_at: SystemTime,
    stop: Arc<Stop>,
    requests: Arc<Mutex<Vec<Request>>>,
    sender: Option<JoinHandle<Result<()>>>,
    receiver: Option<JoinHandle<Result<u32>>>,
}

#[derive(Debug, Default)]
struct Stop {
    sending: AtomicBool,
    receiving: AtomicBool,
}

impl ProbeClient {
    /// Starts asking from `interface`.
    pub fn start(interface: &Interface, config: ProbeConfig) -> Result<Self> {
        Self::start_from(interface, config, Senders::Many)
    }

    /// As [`ProbeClient::start`], before other programs of the machine, and with few sender addresses, which return after
    /// 128 rounds of all targets: for responders that remember who asked, as Linux does. An answer that is later than
    /// that is taken for one to a later request; when it came is right also then. Its hardware address is not that of the
    /// interface, so the client's kernel learns nothing from the answers.
    pub fn start_from_few(interface: &Interface, config: ProbeConfig) -> Result<Self> {
        Self::start_from(interface, config, Senders::Few)
    }

    fn start_from(interface: &Interface, config: ProbeConfig, senders: Senders) -> Result<Self> {
        ensure!(!config.targets.is_empty() && config.per_second > 0, "a probe needs a target and a rate");
        let endpoint = Arc::new(Endpoint::open(interface)?);
        let client = CLIENTS.fetch_add(1, Ordering::Relaxed) % (1 << CLIENT_BITS);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(Stop::default());
        let mut mac = interface.mac();
        if senders == Senders::Few {
            mac[4] ^= 1;
        }
        let (started, started_at) = (Instant::now(), SystemTime::now());
        let sender = Sender {
            endpoint: Arc::clone(&endpoint),
            client,
            mac,
            senders,
            config: config.clone(),
            started,
            started_at,
            requests: Arc::clone(&requests),
            stop: Arc::clone(&stop),
        };
        let receiver = Receiver {
            endpoint,
            client,
            mac,
            senders,
            targets: config.targets,
            started_at,
            requests: Arc::clone(&requests),
            stop: Arc::clone(&stop),
        };
        Ok(Self {
            started,
            started_at,
            stop,
            requests,
            receiver: Some(thread::Builder::new().name("probe-rx".into()).spawn(move || receiver.run())?),
            sender: Some(thread::Builder::new().name("probe-tx".into()).spawn(move || sender.run())?),
        })
    }

    /// Time since the start; the times of the report count from there too.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When it was started, by the clock of its times.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// The last requests so far, at most so many, in the order sent.
    pub fn latest(&self, count: usize) -> Vec<Request> {
        let requests = lock(&self.requests);
        requests[requests.len().saturating_sub(count)..].to_vec()
    }

    /// Asks for `duration`, then reports.
    pub fn run_for(self, duration: Duration) -> Result<Report> {
        thread::sleep(duration);
        self.stop()
    }

    /// Ends asking, waits [`TIMEOUT`] for late answers and reports.
    pub fn stop(mut self) -> Result<Report> {
        self.stop.sending.store(true, Ordering::Relaxed);
        join(self.sender.take())?;
        let duration = self.started.elapsed();
        thread::sleep(TIMEOUT);
        self.stop.receiving.store(true, Ordering::Relaxed);
        let dropped = join(self.receiver.take())?;
        let requests = std::mem::take(&mut *lock(&self.requests));
        Ok(Report::new(requests, duration, dropped))
    }
}

impl Drop for ProbeClient {
    fn drop(&mut self) {
        self.stop.sending.store(true, Ordering::Relaxed);
        self.stop.receiving.store(true, Ordering::Relaxed);
    }
}

fn join<T>(thread: Option<JoinHandle<Result<T>>>) -> Result<T> {
    let thread = thread.context("the thread was joined before")?;
    thread.join().map_err(|_panic| anyhow!("a thread of the probing client panicked"))?
}

fn lock(requests: &Mutex<Vec<Request>>) -> std::sync::MutexGuard<'_, Vec<Request>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a client uses a sender address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Senders {
    /// Once.
    Many,
    /// Each of [`FEW`] in its turn, for one round of all targets.
    Few,
}

struct Sender {
    endpoint: Arc<Endpoint>,
    client: u32,
    mac: [u8; 6],
    senders: Senders,
    config: ProbeConfig,
    started: Instant,
    started_at: SystemTime,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<Stop>,
}

impl Sender {
    /// The sender of a request, by its number.
    fn sender(&self, number: u32) -> Result<u32> {
        match self.senders {
            Senders::Many => {
                ensure!(
                    number < 1 << NUMBER_BITS,
                    "the client has asked {number} times, which is all it can"
                );
                Ok(sender(self.client, number))
            }
            Senders::Few => {
                let round = number / u32::try_from(self.config.targets.len())?;
                Ok(sender(self.client, round % FEW))
            }
        }
    }

    fn run(self) -> Result<()> {
        let interval = Duration::from_secs(1) / self.config.per_second;
        let targets = self.config.targets.iter().cycle();
        if self.senders == Senders::Few {
            cpu::prioritise(0, Priority::Ahead)?;
        }
        for (number, &target) in (0_u32..).zip(targets) {
            let sender = self.sender(number)?;
            let due = self.started + interval * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.sending.load(Ordering::Relaxed) {
                break;
            }
            // Noted before it is sent: the answer may be here before `send` returns.
            let at = SystemTime::now().duration_since(self.started_at).unwrap_or_default();
            lock(&self.requests).push(Request { target, at, answer: None, duplicates: 0 });
            match target {
                IpAddr::V4(target) => {
                    self.endpoint.send(&arp_request(self.mac, sender_v4(sender), target))?;
                }
                IpAddr::V6(target) => {
                    self.endpoint.send(&neighbour_solicitation(self.mac, sender_v6(sender), target))?;
                }
            }
        }
        Ok(())
    }
}

struct Receiver {
    endpoint: Arc<Endpoint>,
    client: u32,
    mac: [u8; 6],
    senders: Senders,
    targets: Vec<IpAddr>,
    started_at: SystemTime,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<Stop>,
}

impl Receiver {
    /// Ends with the number of frames the socket lost.
    fn run(self) -> Result<u32> {
        while !self.stop.receiving.load(Ordering::Relaxed) {
            if let Some(frame) = self.endpoint.receive(Instant::now() + POLL)? {
                self.note(&frame);
            }
        }
        self.endpoint.dropped()
    }

    fn note(&self, frame: &Frame) {
        let Some((sender, target, mac)) = answer(&frame.bytes, self.mac) else { return };
        if sender >> NUMBER_BITS != self.client {
            return;
        }
        let mut requests = lock(&self.requests);
        let number = self.number(sender & ((1 << NUMBER_BITS) - 1), target, requests.len());
        let request = number.and_then(|number| requests.get_mut(number));
        let Some(request) = request.filter(|request| request.target == target) else {
            return;
        };
        if request.answer.is_some() {
            request.duplicates += 1;
            return;
        }
        let at = frame.at.duration_since(self.started_at).unwrap_or_default();
        request.answer = Some(Answer { at, mac });
    }
}

impl Receiver {
    /// The request of a sender that asked for this target; the last one, when there are few senders.
    fn number(&self, sender: u32, target: IpAddr, asked: usize) -> Option<usize> {
        let sender = usize::try_from(sender).ok()?;
        if self.senders == Senders::Many {
            return Some(sender);
        }
        let place = self.targets.iter().position(|one| *one == target)?;
        of_few(sender, place, self.targets.len(), asked)
    }
}

/// The last request of one of [`FEW`] senders for the target at a place among so many, after so many requests.
fn of_few(sender: usize, place: usize, targets: usize, asked: usize) -> Option<usize> {
    // The last round in which the target was asked for.
    let last = asked.checked_sub(place + 1)? / targets;
    let few = usize::try_from(FEW).ok()?;
    let back = (last + few - sender) % few;
    Some(last.checked_sub(back)? * targets + place)
}

/// The sender of a request.
fn sender(client: u32, number: u32) -> u32 {
    client << NUMBER_BITS | number
}

/// Its address, from 10/8.
fn sender_v4(number: u32) -> Ipv4Addr {
    let [_, a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(10, a, b, c)
}

fn sender_v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from((0xfd00_ba5e_u128 << 96) | u128::from(number))
}

/// The sender of the request that a frame answers, the address it answers for and the hardware address it gives.
fn answer(frame: &[u8], own_mac: [u8; 6]) -> Option<(u32, IpAddr, [u8; 6])> {
    if frame.get(..6)? != own_mac {
        return None;
    }
    match frame.get(12..14)? {
        [0x08, 0x06] => {
            let arp = frame.get(14..42)?;
            if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 2] || arp[24] != 10 {
                return None;
            }
            let number = u32::from_be_bytes([0, arp[25], arp[26], arp[27]]);
            let target = Ipv4Addr::from(<[u8; 4]>::try_from(&arp[14..18]).ok()?);
            Some((number, target.into(), arp[8..14].try_into().ok()?))
        }
        [0x86, 0xdd] => {
            let packet = frame.get(14..86)?;
            // Next header, type, flag, option: an advertisement that was asked for and carries its hardware address. A new
            // owner also tells by itself those that have asked.
            if packet[6] != 58 || packet[40] != 136 || packet[44] & 0x40 == 0 || packet[64..66] != [2, 1] {
                return None;
            }
            let asked_from = u128::from_be_bytes(packet[24..40].try_into().ok()?);
            let number = u32::try_from(asked_from ^ (0xfd00_ba5e_u128 << 96)).ok()?;
            let target = Ipv6Addr::from(<[u8; 16]>::try_from(&packet[48..64]).ok()?);
            Some((number, target.into(), packet[66..72].try_into().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::mac;

    #[test]
    fn an_arp_answer_names_its_request() {
        let vip = Ipv4Addr::new(192, 0, 2, 100);
        let mut frame = arp_request(mac(9), vip, sender_v4(70_000));
        frame[..6].copy_from_slice(&mac(1));
        assert_eq!(answer(&frame, mac(1)), None, "a request is no answer");
        frame[21] = 2;
        assert_eq!(answer(&frame, mac(1)), Some((70_000, vip.into(), mac(9))));
        assert_eq!(answer(&frame, mac(2)), None, "for somebody else");
    }

    #[test]
    fn an_advertisement_names_its_request() {
        let vip = "2001:db8::64".parse::<Ipv6Addr>().unwrap();
        let mut frame = neighbour_solicitation(mac(9), vip, vip);
        frame[..6].copy_from_slice(&mac(1));
        frame[38..54].copy_from_slice(&sender_v6(70_000).octets());
        assert_eq!(answer(&frame, mac(1)), None, "a solicitation is no answer");
        (frame[54], frame[78]) = (136, 2);
        assert_eq!(answer(&frame, mac(1)), None, "nobody has asked");
        frame[58] = 0x60;
        assert_eq!(answer(&frame, mac(1)), Some((70_000, vip.into(), mac(9))));
        assert_eq!(answer(&frame[..85], mac(1)), None, "truncated");
    }

    #[test]
    fn the_last_request_of_one_of_few_senders_is_meant() {
        let [v4, v6] = ["192.0.2.100", "2001:db8::64"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let number = |sender, target, asked| {
            let targets = [v4, v6];
            let place = targets.iter().position(|one| *one == target).unwrap();
            of_few(sender, place, targets.len(), asked)
        };
        assert_eq!(number(0, v4, 1), Some(0));
        assert_eq!(number(0, v6, 1), None, "not asked for yet");
        assert_eq!(number(3, v6, 8), Some(7));
        assert_eq!(number(3, v4, 6), None, "not asked by this one yet");
        // 129 rounds: the first sender has asked twice.
        assert_eq!(number(0, v4, 258), Some(256));
        assert_eq!(number(1, v4, 258), Some(2));
    }
}
