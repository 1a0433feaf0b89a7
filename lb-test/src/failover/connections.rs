//! TCP connections through the addresses: a server on each node that gives back what it gets, and connections that stay.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::namespace::Namespace;

/// Between two looks at all connections.
const PACE: Duration = Duration::from_millis(2);
/// For a connection to be made: many times of what it takes where somebody answers.
const CONNECT: Duration = Duration::from_millis(20);
/// A connection that has been given back nothing for so long does not go on.
const STILL: Duration = Duration::from_secs(1);

/// Gives back what it gets; ends with its guard.
#[derive(Debug)]
pub(super) struct ConnectionServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ConnectionServer {
    pub(super) fn start(namespace: &Namespace, addresses: &[SocketAddr]) -> Result<Self> {
        let listen = |address: &SocketAddr| -> Result<TcpListener> {
            let listener =
                TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners = namespace.enter(|| addresses.iter().map(listen).collect::<Result<Vec<_>>>())?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let serve = move || serve(&listeners, &stopped);
        let thread = Some(thread::Builder::new().name("connections".into()).spawn(serve)?);
        Ok(Self { stop, thread })
    }
}

impl Drop for ConnectionServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(listeners: &[TcpListener], stop: &AtomicBool) {
    let mut streams = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for listener in listeners {
            while let Ok((stream, _peer)) = listener.accept() {
                if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_ok() {
                    streams.push(stream);
                }
            }
        }
        streams.retain_mut(|stream| give_back(stream).unwrap_or(false));
        thread::sleep(PACE);
    }
}

/// False when there will be nothing more.
fn give_back(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut buffer = [0; 512];
    match stream.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(length) => stream.write_all(&buffer[..length]).map(|()| true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// What became of connections to an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Those that were given back what they sent to the end.
    pub going_on: usize,
    /// When each of the others was reset, from the fault; in order.
    pub reset: Vec<Duration>,
    /// Those that have heard nothing any more.
    pub hanging: usize,
    /// The longest time in which no new connection could be made.
    pub no_new: Duration,
}

/// Connections to an address, which say something every few milliseconds.
#[derive(Debug)]
pub(crate) struct Connections {
    began: Instant,
    stop: Arc<AtomicBool>,
    talking: JoinHandle<Result<Vec<Connection>>>,
    connecting: JoinHandle<Result<Duration>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// When it was given back something last.
    heard: Instant,
    reset: Option<Instant>,
}

impl Connections {
    /// Makes so many to an address.
    pub(super) fn start(namespace: &Namespace, to: (IpAddr, u16), count: usize) -> Result<Self> {
        let to = SocketAddr::from(to);
        let connect = || connect(&to).with_context(|| format!("no connection to {to}"));
        let all = namespace.enter(|| (0..count).map(|_| connect()).collect::<Result<Vec<_>>>())?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let talking = thread::Builder::new().name("talking".into()).spawn(move || talk(all, &stopped))?;
        let (stopped, namespace) = (Arc::clone(&stop), namespace.clone());
        let connecting = move || namespace.enter(|| Ok(longest_without(&to, &stopped)));
        let connecting = thread::Builder::new().name("connecting".into()).spawn(connecting)?;
        Ok(Self { began: Instant::now(), stop, talking, connecting })
    }

    /// What became of them by now, of which something happened at `fault`.
    pub(crate) fn stop(self, fault: Instant) -> Result<Fate> {
        debug_assert!(fault >= self.began, "they are to be there before");
        let end = Instant::now();
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_panic| anyhow!("a thread of the connections panicked");
        let all = self.talking.join().map_err(panicked)??;
        let no_new = self.connecting.join().map_err(panicked)??;
        let mut reset: Vec<_> = all.iter().filter_map(|one| one.reset).collect();
        reset.sort_unstable();
        let is_on = |one: &&Connection| one.reset.is_none() && end.duration_since(one.heard) < STILL;
        let going_on = all.iter().filter(is_on).count();
        let hanging = all.len() - going_on - reset.len();
        let reset = reset.into_iter().map(|at| at.saturating_duration_since(fault)).collect();
        Ok(Fate { going_on, reset, hanging, no_new })
    }
}

fn connect(to: &SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect_timeout(to, STILL)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Connection { stream, heard: Instant::now(), reset: None })
}

fn talk(mut all: Vec<Connection>, stop: &AtomicBool) -> Result<Vec<Connection>> {
    while !stop.load(Ordering::Relaxed) {
        for connection in all.iter_mut().filter(|one| one.reset.is_none()) {
            connection.say()?;
        }
        thread::sleep(PACE);
    }
    Ok(all)
}

impl Connection {
    fn say(&mut self) -> Result<()> {
        let mut buffer = [0; 512];
        let heard = self.stream.write(b".").and_then(|_| self.stream.read(&mut buffer));
        match heard {
            Ok(0) => self.reset = Some(Instant::now()),
            Ok(_) => self.heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => {
                self.reset = Some(Instant::now());
            }
            Err(error) => return Err(error).context("a connection of the client"),
        }
        Ok(())
    }
}

/// Makes connections one after the other; the longest time between two that were made.
fn longest_without(to: &SocketAddr, stop: &AtomicBool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let made = TcpStream::connect_timeout(to, CONNECT);
        longest = longest.max(last.elapsed());
        if made.is_ok() {
            last = Instant::now();
        }
        thread::sleep(PACE);
    }
    longest.max(last.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of connections in a namespace whose server does something after a while.
    fn fate(deed: impl FnOnce(&Namespace, ConnectionServer) -> Option<ConnectionServer>) -> Fate {
        let namespace = Namespace::new("connections").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 7));
        let server = ConnectionServer::start(&namespace, &[address]).unwrap();
        let connections = Connections::start(&namespace, (address.ip(), 7), 3).unwrap();
        thread::sleep(Duration::from_millis(200));
        let fault = Instant::now();
        let server = deed(&namespace, server);
        thread::sleep(STILL + Duration::from_millis(200));
        let fate = connections.stop(fault).unwrap();
        drop(server);
        fate
    }

    #[test]
    #[ignore = "needs root: makes a network namespace"]
    fn connections_go_on_or_are_reset_or_hang() {
        let kept = fate(|_, server| Some(server));
        assert_eq!((kept.going_on, kept.reset.len(), kept.hanging), (3, 0, 0));
        assert!(kept.no_new < STILL, "{kept:?}");
        let ended = fate(|_, server| {
            drop(server);
            None
        });
        assert_eq!((ended.going_on, ended.reset.len(), ended.hanging), (0, 3, 0));
        assert!(ended.no_new >= STILL, "{ended:?}");
        let cut = fate(|namespace, server| {
            namespace.ip(&["link", "set", "lo", "down"]).unwrap();
            Some(server)
        });
        assert_eq!((cut.going_on, cut.reset.len(), cut.hanging), (0, 0, 3));
    }
}
