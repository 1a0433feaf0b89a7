//! Liveness probes reflected by the program: which addresses of the node take part, and who may ask.

use core::net::IpAddr;

use crate::addr::{Address, Mac};
use crate::packet::bfd;

/// Map of the node's own addresses: [`KeyStation`] → [`Reflector`].
pub const REFLECTORS: &str = "REFLECTORS";
/// Map of the stations whose probes are reflected: [`KeyStation`] → [`Member`].
pub const MEMBERS: &str = "MEMBERS";

/// Size of [`REFLECTORS`].
pub const MAX_REFLECTORS: u32 = 256;
/// Size of [`MEMBERS`].
pub const MAX_MEMBERS: u32 = 4096;

/// Probes of one member that are reflected in one second; more are handed to the stack.
pub const MEMBER_RATE: u32 = 4096;
/// The second in which [`MEMBER_RATE`] counts.
pub const MEMBER_WINDOW_NS: u64 = 1_000_000_000;

/// Key of [`REFLECTORS`] and [`MEMBERS`]: an address on a link. Untagged frames only, so it names no VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct KeyStation {
    ifindex: u32,
    pad: u32,
    addr: Address,
}

impl KeyStation {
    /// Of an address of either family on an interface.
    pub fn at(ifindex: u32, ip: IpAddr) -> Self {
        let addr = match ip {
            IpAddr::V4(ip) => Address::v4(&ip.octets()),
            IpAddr::V6(ip) => Address::v6(&ip.octets()),
        };
        Self::new(ifindex, addr)
    }

    /// `ifindex` is the index the program sees; native XDP on a bond sees the member's.
    #[inline(always)]
    pub const fn new(ifindex: u32, addr: Address) -> Self {
        Self { ifindex, pad: 0, addr }
    }
    /// Interface index.
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }
    /// The address.
    pub const fn addr(&self) -> Address {
        self.addr
    }
}

/// Value of [`REFLECTORS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Reflector {
    discriminator: [u8; 4],
    state: u8,
    pad: [u8; 3],
}

impl Reflector {
    /// Reflects probes for `discriminator`. `up` says that the node may own addresses; else it is administratively down.
    pub const fn new(discriminator: u32, up: bool) -> Self {
        let state = if up { bfd::State::Up } else { bfd::State::AdminDown };
        Self { discriminator: discriminator.to_be_bytes(), state: state as u8, pad: [0; 3] }
    }
    /// What probes must name, in network order.
    #[inline(always)]
    pub const fn discriminator(&self) -> &[u8; 4] {
        &self.discriminator
    }
    /// What reflected probes say; a number this version does not know means administratively down.
    #[inline(always)]
    pub const fn is_up(&self) -> bool {
        self.state == bfd::State::Up as u8
    }
}

/// Value of [`MEMBERS`]. The program counts in it; two CPUs that count at once may lose a probe of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Member {
    mac: Mac,
    pad: [u8; 2],
    count: u32,
    pad2: u32,
    window_ns: u64,
}

impl Member {
    /// Probes come from `mac`.
    pub const fn new(mac: Mac) -> Self {
        Self { mac, pad: [0; 2], count: 0, pad2: 0, window_ns: 0 }
    }
    /// Hardware address its probes come from.
    #[inline(always)]
    pub const fn mac(&self) -> &Mac {
        &self.mac
    }
    /// True when it asked less than [`MEMBER_RATE`] times since its second began, `now_ns` of `CLOCK_BOOTTIME`; then
    /// the probe is counted. Clocks of CPUs differ by a tick; one that is behind begins the second anew.
    #[inline(always)]
    pub const fn admit(&mut self, now_ns: u64) -> bool {
        if now_ns.wrapping_sub(self.window_ns) >= MEMBER_WINDOW_NS {
            self.window_ns = now_ns;
            self.count = 0;
        }
        let admitted = self.count < MEMBER_RATE;
        if admitted {
            self.count += 1;
        }
        admitted
    }
    /// True when this says the same as [`Member::new`] of its hardware address, whatever was counted.
    pub fn is_canonical(&self) -> bool {
        (self.pad, self.pad2) == ([0; 2], 0)
    }
}

layout! {
    KeyStation: 24, 8;
    Reflector: 8, 1;
    Member: 24, 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = MEMBER_WINDOW_NS;

    #[test]
    fn an_unknown_state_is_down() {
        let mut reflector = Reflector::new(0x0102_0304, true);
        assert!(reflector.is_up());
        assert_eq!(reflector.discriminator(), &[1, 2, 3, 4]);
        for state in [0, 1, 2, 4, 255] {
            reflector.state = state;
            assert!(!reflector.is_up(), "{state}");
        }
        assert!(!Reflector::new(1, false).is_up());
    }

    #[test]
    fn a_member_is_admitted_so_often_in_a_second() {
        let mut member = Member::new([2; 6]);
        let start = 77 * SECOND;
        for n in 0..MEMBER_RATE {
            assert!(member.admit(start + u64::from(n)), "{n}");
        }
        assert!(!member.admit(start + 5_000) && !member.admit(start + SECOND - 1));
        assert!(member.admit(start + SECOND), "the next second");
        assert!(member.is_canonical());
        assert_eq!(member.mac(), &[2; 6]);
    }

    /// A clock that went back, or a value that somebody wrote, silences nobody for longer than a second.
    #[test]
    fn a_second_that_lies_ahead_begins_anew() {
        let mut member = Member { count: MEMBER_RATE, window_ns: u64::MAX, ..Member::new([2; 6]) };
        assert!(member.admit(2 * SECOND));
        assert_eq!((member.count, member.window_ns), (1, 2 * SECOND));
    }
}
