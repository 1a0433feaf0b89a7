//! The capabilities of this process (capabilities(7)): what is there, and giving some up in every thread.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

mod threads;

pub use threads::drop_from_all_threads;

/// A capability the agent deals with; numbers and names of linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: attach XDP programs, change links and groups.
    NetAdmin = 12,
    /// `CAP_NET_RAW`: open packet sockets.
    NetRaw = 13,
    /// `CAP_SYS_ADMIN`: includes BPF and PERFMON, also on kernels before 5.8.
    SysAdmin = 21,
    /// `CAP_PERFMON`: load programs that read kernel memory or use pointers freely.
    Perfmon = 38,
    /// `CAP_BPF`: create maps and load programs.
    Bpf = 39,
}

impl Capability {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::NetAdmin, Self::NetRaw, Self::SysAdmin, Self::Perfmon, Self::Bpf];

    /// The bit in a 64-bit set.
    const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The name as a pod's `securityContext.capabilities` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "NET_ADMIN",
            Self::NetRaw => "NET_RAW",
            Self::SysAdmin => "SYS_ADMIN",
            Self::Perfmon => "PERFMON",
            Self::Bpf => "BPF",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.name())
    }
}

/// Why capabilities could not be read or given up.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// /proc is not there or not readable.
    #[error("cannot read the capabilities of this process from /proc")]
    Proc(#[source] io::Error),
    /// /proc has another format than expected.
    #[error("the status file of thread {thread} in /proc lists no capabilities")]
    Format {
        /// Thread id.
        thread: i32,
    },
    /// The handler that each thread runs could not be installed.
    #[error("cannot install a signal handler to give up capabilities in every thread")]
    Signal(#[source] io::Error),
    /// A thread did not give them up.
    #[error("thread {thread} still holds {}", names(.held))]
    StillHeld {
        /// Thread id.
        thread: i32,
        /// What it holds of what was to be given up.
        held: Vec<Capability>,
    },
}

/// The capability sets of a thread, as far as [`Capability`] names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// In force now.
    pub effective: BTreeSet<Capability>,
    /// May be put in force.
    pub permitted: BTreeSet<Capability>,
}

impl Capabilities {
    /// Those of the calling thread.
    pub fn read() -> Result<Self, CapabilityError> {
        let text = std::fs::read_to_string("/proc/thread-self/status").map_err(CapabilityError::Proc)?;
        let thread = libc::pid_t::try_from(std::process::id()).unwrap_or_default();
        let sets = Sets::parse(&text).ok_or(CapabilityError::Format { thread })?;
        Ok(Self { effective: named(sets.effective), permitted: named(sets.permitted) })
    }

    /// Which of `needed` are not in force, in the order given. `CAP_SYS_ADMIN` stands for `CAP_BPF` and `CAP_PERFMON`, as in the kernel.
    pub fn missing(&self, needed: &[Capability]) -> Vec<Capability> {
        let has = |capability: Capability| {
            self.effective.contains(&capability)
                || (matches!(capability, Capability::Bpf | Capability::Perfmon)
                    && self.effective.contains(&Capability::SysAdmin))
        };
        needed.iter().copied().filter(|capability| !has(*capability)).collect()
    }
}

/// The sets of a status file in /proc (`proc_pid_status(5)`) as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    inheritable: u64,
    permitted: u64,
    effective: u64,
    ambient: u64,
}

impl Sets {
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            u64::from_str_radix(line.trim(), 16).ok()
        };
        Some(Self {
            inheritable: field("CapInh:")?,
            permitted: field("CapPrm:")?,
            effective: field("CapEff:")?,
            ambient: field("CapAmb:")?,
        })
    }

    /// Everything a thread can use or pass on; the bounding set alone gives it nothing.
    fn held(&self) -> u64 {
        self.inheritable | self.permitted | self.effective | self.ambient
    }
}

fn named(bits: u64) -> BTreeSet<Capability> {
    Capability::ALL.into_iter().filter(|capability| bits & capability.bit() != 0).collect()
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t000000c000003000\n\
                          CapEff:\t0000008000001000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n";

    #[test]
    fn reads_a_status_file() {
        let sets = Sets::parse(STATUS).unwrap();
        assert_eq!(named(sets.effective), BTreeSet::from([Capability::NetAdmin, Capability::Bpf]));
        assert_eq!(
            named(sets.permitted),
            BTreeSet::from([Capability::NetAdmin, Capability::NetRaw, Capability::Perfmon, Capability::Bpf])
        );
        assert_eq!(sets.held(), 0xc0_0000_3000);
        assert_eq!(Sets::parse("Name:\tx\n"), None);
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(Capability::Bpf.bit(), 0x80_0000_0000);
        assert_eq!(names(&[Capability::NetRaw, Capability::Perfmon]), "CAP_NET_RAW, CAP_PERFMON");
    }

    #[test]
    fn sys_admin_stands_for_bpf() {
        let old = Capabilities {
            effective: BTreeSet::from([Capability::SysAdmin, Capability::NetAdmin]),
            ..Capabilities::default()
        };
        let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::NetRaw];
        assert_eq!(old.missing(&needed), [Capability::NetRaw]);
        assert_eq!(Capabilities::default().missing(&needed), needed);
    }
}
