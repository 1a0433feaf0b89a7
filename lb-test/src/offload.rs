//! Offloads of an interface by the ethtool ioctl, so that no `ethtool` needs to be installed.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

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
const GET_STRINGS: u32 = 0x1b;
const GET_STRING_COUNTS: u32 = 0x37;
const SET_FEATURES: u32 = 0x3b;
const STRINGS_OF_FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`, in 32-bit words.
const STRING_WORDS: usize = 8;
const FLAG_TX_VLAN: u32 = 1 << 7;
const FLAG_RX_VLAN: u32 = 1 << 8;

/// Something a network device does on the kernel's behalf and that changes what a program on it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Takes the VLAN tag out of received frames.
    RxVlan,
    /// Takes the service tag (802.1ad) out of received frames.
    RxServiceVlan,
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

/// Switches `offload` of the interface `name` in the namespace of the calling thread.
pub(crate) fn set(name: &str, offload: Offload, on: bool) -> Result<()> {
    let data = u32::from(on);
    match offload {
        Offload::RxVlan => set_flag(name, FLAG_RX_VLAN, on),
        // Service tags have no flag in the old interface.
        Offload::RxServiceVlan => set_feature(name, "rx-vlan-stag-hw-parse", on),
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

/// By the kernel's name of it, as `ethtool -k` lists them.
fn set_feature(name: &str, feature: &str, on: bool) -> Result<()> {
    let names = feature_names(name)?;
    let bit = names.iter().position(|known| known == feature);
    let bit = bit.with_context(|| format!("this kernel has no feature {feature}"))?;
    // struct ethtool_sfeatures: the command, the number of blocks, then per 32 features which are meant and as what.
    let mut request = vec![0; 2 + 2 * names.len().div_ceil(32)];
    request[..2].copy_from_slice(&[SET_FEATURES, u32::try_from(names.len().div_ceil(32))?]);
    let (block, mask) = (2 + bit / 32 * 2, 1 << (bit % 32));
    request[block] = mask;
    request[block + 1] = if on { mask } else { 0 };
    // It answers with what it did not do as asked.
    ensure!(ioctl(name, &mut request)? == 0, "the driver does not allow it");
    Ok(())
}

/// By bit; a bit without a name is an empty string.
fn feature_names(name: &str) -> Result<Vec<String>> {
    // struct ethtool_sset_info: the command, a reserved word, 64 bits that say which sets, a count for each.
    let sets = u64::from(1u32 << STRINGS_OF_FEATURES).to_ne_bytes();
    let half =
        |place: usize| u32::from_ne_bytes([sets[place], sets[place + 1], sets[place + 2], sets[place + 3]]);
    let mut request = [GET_STRING_COUNTS, 0, half(0), half(4), 0, 0];
    ioctl(name, &mut request)?;
    let count = request[4];
    // struct ethtool_gstrings: the command, the set, the number of strings, the strings.
    let mut request = vec![0; 3 + STRING_WORDS * usize::try_from(count)?];
    request[..3].copy_from_slice(&[GET_STRINGS, STRINGS_OF_FEATURES, count]);
    ioctl(name, &mut request)?;
    let text = |words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0);
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
    };
    Ok(request[3..].chunks_exact(STRING_WORDS).map(text).collect())
}

/// A request with one word of data (`struct ethtool_value`).
fn call(name: &str, command: u32, data: u32) -> Result<u32> {
    let mut value = [command, data];
    ioctl(name, &mut value)?;
    Ok(value[1])
}

/// `data` has the size its command (its first word) asks for.
fn ioctl(name: &str, data: &mut [u32]) -> Result<i32> {
    // SAFETY: ifreq is plain data for which all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "the name {name} is too long for an interface");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = data.as_mut_ptr().cast();
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    // SAFETY: the request points to data that outlives the call and has the size the command asks for.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error()).context("SIOCETHTOOL");
    }
    Ok(done)
}
