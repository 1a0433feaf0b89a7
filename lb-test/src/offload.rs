//! Offloads of an interface by the ethtool ioctl, so that no `ethtool` needs to be installed.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::{io, ptr};

use anyhow::{Context, Result, ensure};

/// `SIOCETHTOOL`, linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
// linux/ethtool.h
const SET_RX_CHECKSUM: u32 = 0x15;
const SET_TX_CHECKSUM: u32 = 0x17;
const SET_TSO: u32 = 0x1f;
const SET_GSO: u32 = 0x24;
const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
const SET_GRO: u32 = 0x2c;
const FLAG_TX_VLAN: u32 = 1 << 7;
const FLAG_RX_VLAN: u32 = 1 << 8;

/// Something a network device does on the kernel's behalf and that changes what a program on it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Takes the VLAN tag out of received frames.
    RxVlan,
    /// Puts the VLAN tag into sent frames.
    TxVlan,
    /// Verifies checksums.
    RxChecksum,
    /// Completes checksums; off, local sockets send complete ones.
    TxChecksum,
    /// Merges received segments.
    Gro,
    /// Splits large segments in software.
    Gso,
    /// Splits large segments in the device.
    Tso,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches `offload` of the interface `name` in the namespace of the calling thread.
pub(crate) fn set(name: &str, offload: Offload, on: bool) -> Result<()> {
    let data = u32::from(on);
    match offload {
        Offload::RxVlan => set_flag(name, FLAG_RX_VLAN, on),
        Offload::TxVlan => set_flag(name, FLAG_TX_VLAN, on),
        Offload::RxChecksum => call(name, SET_RX_CHECKSUM, data).map(drop),
        Offload::TxChecksum => call(name, SET_TX_CHECKSUM, data).map(drop),
        Offload::Gro => call(name, SET_GRO, data).map(drop),
        Offload::Gso => call(name, SET_GSO, data).map(drop),
        Offload::Tso => call(name, SET_TSO, data).map(drop),
    }
    .with_context(|| format!("cannot switch {offload:?} of {name}"))
}

fn set_flag(name: &str, flag: u32, on: bool) -> Result<()> {
    let flags = call(name, GET_FLAGS, 0)?;
    call(name, SET_FLAGS, if on { flags | flag } else { flags & !flag })?;
    ensure!((call(name, GET_FLAGS, 0)? & flag != 0) == on, "the driver does not allow it");
    Ok(())
}

fn call(name: &str, command: u32, data: u32) -> Result<u32> {
    let mut value = Value { command, data };
    // SAFETY: ifreq is plain data for which all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "the name {name} is too long for an interface");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut value).cast();
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    // SAFETY: the request points to a value that outlives the call and has the size the command asks for.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error()).context("SIOCETHTOOL");
    }
    Ok(value.data)
}
