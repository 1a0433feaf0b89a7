//! Datagrams through an address: a server on each node that says who it is, and a client that asks each millisecond.
//!
//! The client's kernel decides who gets a datagram, by its neighbour table: so what is seen here is what a connection
//! sees, announcements and all.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::cpu::{self, Priority};
use crate::client::{Answer, Request};
use crate::namespace::Namespace;
use crate::wire::Message;

/// Between two looks whether to end.
const POLL: Duration = Duration::from_millis(50);
/// For the answers to the last requests.
const LAST: Duration = Duration::from_millis(200);
/// A number and a hardware address.
const NUMBER: usize = 4;
const REPLY: usize = NUMBER + 6;

/// Answers datagrams with the hardware address of its node; ends with its guard.
#[derive(Debug)]
pub(super) struct EchoServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens at these addresses, which the node need not have yet.
    pub(super) fn start(namespace: &Namespace, mac: [u8; 6], addresses: &[SocketAddr]) -> Result<Self> {
        let mut server = Self { stop: Arc::default(), threads: Vec::new() };
        for address in addresses {
            let socket = namespace.enter(|| listen(*address))?;
            let stop = Arc::clone(&server.stop);
            let serve = move || serve(&socket, mac, &stop);
            server.threads.push(thread::Builder::new().name("echo".into()).spawn(serve)?);
        }
        Ok(server)
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn listen(address: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&address.into()).with_context(|| format!("cannot listen at {address}"))?;
    socket.set_read_timeout(Some(POLL))?;
    Ok(socket.into())
}

fn serve(socket: &UdpSocket, mac: [u8; 6], stop: &AtomicBool) {
    // It stands for any application: when the processors are busy, it is not what is measured.
    drop(cpu::prioritise(0, Priority::Ahead));
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        if length == NUMBER {
            buffer[NUMBER..REPLY].copy_from_slice(&mac);
            // A node that does not own the address any more has nothing to answer with.
            drop(socket.send_to(&buffer[..REPLY], peer));
        }
    }
}

/// Asks each target at a steady pace by datagrams; ends with its guard.
#[derive(Debug)]
pub(super) struct EchoClient {
    started_at: SystemTime,
    requests: Arc<Mutex<Vec<Request>>>,
    /// Of sending, then of receiving.
    stops: [Arc<AtomicBool>; 2],
    threads: Vec<JoinHandle<Result<()>>>,
}

impl EchoClient {
    /// Begins to ask these addresses at this port, each once every `pace`.
    pub(super) fn start(namespace: &Namespace, vips: &[IpAddr], port: u16, pace: Duration) -> Result<Self> {
        let socket = namespace.enter(open)?;
        let reader = socket.try_clone()?;
        let (started, started_at) = (Instant::now(), SystemTime::now());
        let (kept, stops) = (Arc::default(), <[Arc<AtomicBool>; 2]>::default());
        let (requests, stop) = (Arc::clone(&kept), Arc::clone(&stops[0]));
        let sender = Sender { socket, vips: vips.to_vec(), port, pace, started, started_at, requests, stop };
        let sender = thread::Builder::new().name("echo-tx".into()).spawn(move || sender.run())?;
        let (requests, stop) = (Arc::clone(&kept), Arc::clone(&stops[1]));
        let receive = move || receive(&reader, started_at, &requests, &stop);
        let receiver = thread::Builder::new().name("echo-rx".into()).spawn(receive)?;
        Ok(Self { started_at, requests: kept, stops, threads: vec![sender, receiver] })
    }

    /// When it was started, by the clock of its times.
    pub(super) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// The last requests so far.
    pub(super) fn latest(&self, count: usize) -> Vec<Request> {
        let requests = lock(&self.requests);
        requests[requests.len().saturating_sub(count)..].to_vec()
    }

    /// Ends asking; every request in the order sent, and when the last was.
    pub(super) fn stop(mut self) -> Result<(Vec<Request>, Duration)> {
        let mut end = Duration::ZERO;
        for (stop, thread) in self.stops.iter().zip(self.threads.drain(..)) {
            stop.store(true, Ordering::Relaxed);
            thread.join().map_err(|_panic| anyhow!("a thread of the echo client panicked"))??;
            if end.is_zero() {
                end = self.started_at.elapsed().unwrap_or_default();
                thread::sleep(LAST);
            }
        }
        Ok((std::mem::take(&mut *lock(&self.requests)), end))
    }
}

impl Drop for EchoClient {
    fn drop(&mut self) {
        for stop in &self.stops {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

/// A socket for both families, which hears of no error: a node that refuses a datagram is one that does not answer.
fn open() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    socket.set_read_timeout(Some(POLL))?;
    crate::wire::stamp(&socket)?;
    Ok(socket.into())
}

struct Sender {
    socket: UdpSocket,
    vips: Vec<IpAddr>,
    port: u16,
    pace: Duration,
    started: Instant,
    started_at: SystemTime,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Sender {
    fn run(self) -> Result<()> {
        cpu::prioritise(0, Priority::Ahead)?;
        let mut due = self.started;
        while !self.stop.load(Ordering::Relaxed) {
            due += self.pace;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for vip in &self.vips {
                let number = {
                    let mut requests = lock(&self.requests);
                    let at = SystemTime::now().duration_since(self.started_at).unwrap_or_default();
                    requests.push(Request { target: *vip, at, answer: None, duplicates: 0 });
                    u32::try_from(requests.len() - 1)?
                };
                let mapped = match vip {
                    IpAddr::V4(vip) => vip.to_ipv6_mapped(),
                    IpAddr::V6(vip) => *vip,
                };
                // What can't be sent has no answer.
                drop(self.socket.send_to(&number.to_be_bytes(), (mapped, self.port)));
            }
        }
        Ok(())
    }
}

fn receive(
    socket: &UdpSocket,
    started_at: SystemTime,
    requests: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) -> Result<()> {
    let (fd, mut message) = (OwnedFd::from(socket.try_clone()?), Message::new());
    while !stop.load(Ordering::Relaxed) {
        // Waits; the message is read with its time below.
        if socket.peek(&mut [0]).is_err() {
            continue;
        }
        let Some(datagram) = message.receive(&fd)? else { continue };
        let (Some(number), Some(mac)) =
            (datagram.bytes.first_chunk(), datagram.bytes.get(NUMBER..REPLY).and_then(<[u8]>::first_chunk))
        else {
            continue;
        };
        let at = datagram.at.duration_since(started_at).unwrap_or_default();
        let mut requests = lock(requests);
        let request = requests.get_mut(usize::try_from(u32::from_be_bytes(*number))?);
        let Some(request) = request else { continue };
        match request.answer {
            Some(_) => request.duplicates += 1,
            None => request.answer = Some(Answer { at, mac: *mac }),
        }
    }
    Ok(())
}

fn lock(requests: &Mutex<Vec<Request>>) -> std::sync::MutexGuard<'_, Vec<Request>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}
