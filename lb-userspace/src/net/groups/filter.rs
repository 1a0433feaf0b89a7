//! Static entries of a NIC's multicast filter (`SIOCADDMULTI`, `ip maddr add`): they stay when the process ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use socket2::Socket;

use crate::net::errno::Errno;
use crate::net::ifreq::{self, Request};

/// An Ethernet multicast address.
pub(super) type Mac = [u8; 6];

/// The first three bytes of every solicited-node group's Ethernet address.
const PREFIX: [u8; 3] = [0x33, 0x33, 0xff];

/// Static entries for solicited-node groups by interface index, in the network namespace of this thread.
pub(super) fn read() -> io::Result<BTreeMap<u32, BTreeSet<Mac>>> {
    std::fs::read_to_string("/proc/thread-self/net/dev_mcast").map(|text| parse(&text))
}

/// Adds an entry; one that is there already is fine.
pub(super) fn add(socket: &Socket, name: &str, mac: Mac) -> Result<(), Errno> {
    match change(socket, name, mac, libc::SIOCADDMULTI as Request) {
        Err(Errno(libc::EEXIST)) => Ok(()),
        result => result,
    }
}

/// Removes an entry; one that is not there is fine.
pub(super) fn remove(socket: &Socket, name: &str, mac: Mac) -> Result<(), Errno> {
    match change(socket, name, mac, libc::SIOCDELMULTI as Request) {
        Err(Errno(libc::ENOENT)) => Ok(()),
        result => result,
    }
}

fn change(socket: &Socket, name: &str, mac: Mac, operation: Request) -> Result<(), Errno> {
    let mut request = ifreq::for_name(name).ok_or(Errno(libc::ENODEV))?;
    let mut address = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    for (to, from) in address.sa_data.iter_mut().zip(mac) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: both operations take the address inside the ifreq; it carries no pointer.
    unsafe { ifreq::run(socket, operation, &mut request) }
}

/// Lines of `index name users static-users address` (net/core/net-procfs.c, `dev_mc_seq_show`).
fn parse(text: &str) -> BTreeMap<u32, BTreeSet<Mac>> {
    let mut entries: BTreeMap<u32, BTreeSet<Mac>> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let (Some(index), Some(_name), Some(_users), Some(fixed), Some(address), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(index), Some(mac)) = (index.parse(), parse_mac(address)) else { continue };
        if fixed != "0" && mac.starts_with(&PREFIX) {
            entries.entry(index).or_default().insert(mac);
        }
    }
    entries
}

fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    if text.len() != 12 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in mac.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_static_solicited_node_entries_only() {
        let text = "2    v0              1     0     01005e000001\n\
                    2    v0              1     0     3333ff000066\n\
                    2    v0              2     1     3333ff000067\n\
                    2    v0              1     1     333300000001\n\
                    11   averyveryveryl  1     1     3333ffabcdef\n\
                    garbage\n3 v1 1 1 3333ff\n";
        let expected = BTreeMap::from([
            (2, BTreeSet::from([[0x33, 0x33, 0xff, 0, 0, 0x67]])),
            (11, BTreeSet::from([[0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]])),
        ]);
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn an_interface_that_is_not_there() {
        let socket = Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).unwrap();
        let error = add(&socket, "no-such-link0", [0x33, 0x33, 0xff, 0, 0, 1]).unwrap_err();
        assert!([Errno(libc::ENODEV), Errno(libc::EPERM)].contains(&error), "{error}");
    }
}
