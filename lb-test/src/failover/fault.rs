//! What is done to the owner, and how it is taken back.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{io, mem};

use anyhow::{Context, Result, ensure};

use super::watch::{Fault as Mark, Watch};
use super::{FIRST_NODE, PATIENCE, System};
use crate::bench::cpu::{self, Priority};
use crate::link::Interface;
use crate::rig::Way;

const SECOND: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
/// Long enough for another node to take over.
const UNPLUGGED: Duration = Duration::from_millis(250);
/// Between two looks at a node's own table.
const LOOK: Duration = Duration::from_micros(200);

/// Something that happens to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The ports of the owner and of so many next in order let nothing through: silent death, which nobody is told of.
    Cut {
        /// Which way.
        way: Way,
        /// Nodes that die.
        nodes: usize,
    },
    /// SIGKILL to the daemon, which is started again a second later.
    Kill,
    /// SIGSTOP to the daemon.
    Freeze,
    /// The link goes down inside the node.
    LinkDown,
    /// The other end of the cable goes down and comes back: the node has no carrier for so long.
    Unplug,
    /// The node gives away what it owns, as a person asks it to.
    HandOver,
    /// The node was cut off until another one answered, and is back: that is the moment that counts.
    Return,
}

/// How long is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For others to answer.
    pub(super) moved: Duration,
    /// After that.
    pub(super) after: Duration,
}

impl Fault {
    /// Nodes that it concerns, in order.
    fn victims(self, system: &dyn System) -> Vec<usize> {
        let count = if let Self::Cut { nodes, .. } = self { nodes } else { 1 };
        system.order().into_iter().take(count).collect()
    }

    /// Does it, and waits until it is over or others answer; when it was done.
    pub(super) fn happen(self, system: &mut dyn System, watch: &Watch, limits: Limits) -> Result<Mark> {
        let victims = self.victims(system);
        let owner = *victims.first().context("a system without nodes")?;
        let before = victims.iter().map(|node| system.mac(*node)).collect::<Result<Vec<_>>>()?;
        let mut mark = Mark { at: SystemTime::now(), before, silent: None };
        match self {
            Self::Cut { way, .. } => mark.at = cut(system, &victims, way)?,
            Self::Kill => {
                mark.at = at_once(|| system.kill(owner))?;
                thread::sleep(SECOND);
                system.start(owner)?;
                thread::sleep(4 * SECOND);
                return Ok(mark);
            }
            Self::Freeze => mark.at = at_once(|| system.freeze(owner))?,
            Self::LinkDown => mark.at = set_down(&system.cables()[owner].a)?,
            Self::Unplug => {
                let (port, table) = (&system.cables()[owner].b, system.table(owner)?);
                mark.at = set_down(port)?;
                let back = Instant::now() + UNPLUGGED;
                mark.silent = table.map(|answers| silence(mark.at, &answers)).transpose()?;
                thread::sleep(back.saturating_duration_since(Instant::now()));
                port.up()?;
            }
            Self::HandOver => {
                mark.at = SystemTime::now();
                system.hand_over(owner)?;
            }
            Self::Return => {
                mark.at = cut(system, &victims, Way::Both)?;
                ensure!(
                    moved(watch, &mark, limits.moved),
                    "nobody has taken over from the node that was to return"
                );
                thread::sleep(SECOND);
                mark.before =
                    all_macs(system)?.into_iter().filter(|mac| !mark.before.contains(mac)).collect();
                mark.at = at_once(|| system.port(owner)?.heal())?;
            }
        }
        moved(watch, &mark, limits.moved);
        thread::sleep(limits.after);
        Ok(mark)
    }

    /// Takes it back.
    pub(super) fn undo(self, system: &mut dyn System) -> Result<()> {
        for node in self.victims(system) {
            match self {
                Self::Cut { .. } | Self::Return => system.port(node)?.heal()?,
                Self::Kill | Self::Unplug => {}
                Self::Freeze => system.thaw(node)?,
                Self::LinkDown => set_up(&system.cables()[node].a, node)?,
                Self::HandOver => system.take_back(node)?,
            }
        }
        Ok(())
    }
}

fn cut(system: &mut dyn System, victims: &[usize], way: Way) -> Result<SystemTime> {
    at_once(|| victims.iter().try_for_each(|node| system.port(*node)?.cut(way)))
}

/// Does it, before all programs of the machine: where these are busy it would come later than it says. Just before when.
fn at_once(deed: impl FnOnce() -> Result<()>) -> Result<SystemTime> {
    cpu::prioritise(0, Priority::Ahead)?;
    let at = SystemTime::now();
    let done = deed();
    // What is started later must not inherit that.
    cpu::prioritise(0, Priority::Normal)?;
    done.map(|()| at)
}

/// Waits until others answer for everything; false when they have not until the limit.
fn moved(watch: &Watch, mark: &Mark, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !watch.is_with_others(&mark.before) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// From the fault until a node's own table answers for nothing.
fn silence(fault: SystemTime, answers: &dyn Fn() -> Result<bool>) -> Result<Duration> {
    while answers()? {
        ensure!(fault.elapsed()? < PATIENCE, "without a carrier the node still answers, by its own table");
        thread::sleep(LOOK);
    }
    Ok(fault.elapsed()?)
}

fn all_macs(system: &dyn System) -> Result<Vec<[u8; 6]>> {
    (0..system.cables().len()).map(|node| system.mac(node)).collect()
}

/// Sets a link up again, with the address that the kernel does not keep for it.
fn set_up(link: &Interface, node: usize) -> Result<()> {
    link.up()?;
    link.add_address(&format!("fe80::{}/64", usize::from(FIRST_NODE) + node))
}

/// Sets a link down without the time that starting a program takes; when it was done.
fn set_down(link: &Interface) -> Result<SystemTime> {
    link.namespace().enter(|| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        // SAFETY: ifreq is plain data for which all zeroes is valid.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(link.name().bytes()) {
            *to = from.cast_signed();
        }
        // SAFETY: a live request with the name of a link.
        let read = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
        ensure!(read == 0, "cannot read the flags of {}: {}", link.name(), io::Error::last_os_error());
        // SAFETY: the kernel has filled the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags & !i16::try_from(libc::IFF_UP)?;
        let at = SystemTime::now();
        // SAFETY: as above.
        let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
        ensure!(set == 0, "cannot set {} down: {}", link.name(), io::Error::last_os_error());
        Ok(at)
    })
}
