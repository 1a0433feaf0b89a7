//! What a driver says it can do with XDP: the generic netlink family "netdev" (kernel 6.3, linux/netdev.h).

use std::io;

use rtnetlink::sys::Socket;

use super::errno::Errno;

/// `NETLINK_GENERIC`, and its controller, which knows the numbers of the families.
const GENERIC: isize = 16;
const CONTROLLER: u16 = 0x10;
// linux/genetlink.h
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
// linux/netdev.h
const GET_DEVICE: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC`: PASS, DROP, ABORTED and TX.
const BASIC: u64 = 1;

/// `NLM_F_REQUEST`, and the type of a refusal.
const REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// `struct nlmsghdr`, `struct genlmsghdr` and `struct nlattr`.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ATTRIBUTE: usize = 4;

/// Whether the driver of this interface has native XDP; `None` when the kernel can't tell (before 6.3).
pub fn has_native_xdp(index: u32) -> io::Result<Option<bool>> {
    let mut socket = Socket::new(GENERIC)?;
    socket.bind_auto()?;
    let family = match ask(&socket, &request(CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0")) {
        Ok(answer) => answer,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(family) =
        attribute(&family, FAMILY_ID).and_then(|bytes| Some(u16::from_ne_bytes(*bytes.first_chunk()?)))
    else {
        return Ok(None);
    };
    let answer = ask(&socket, &request(family, GET_DEVICE, IFINDEX, &index.to_ne_bytes()))?;
    let features =
        attribute(&answer, XDP_FEATURES).and_then(|bytes| Some(u64::from_ne_bytes(*bytes.first_chunk()?)));
    Ok(features.map(|features| features & BASIC != 0))
}

/// The attributes of the answer.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    // The kernel has answered when send(2) returns; an answer is a few hundred bytes.
    let mut buffer = vec![0; 16 * 1024];
    let length = socket.recv(&mut buffer.as_mut_slice(), libc::MSG_DONTWAIT)?;
    buffer.truncate(length);
    payload(&buffer)
}

/// One request with one attribute.
fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = ATTRIBUTE + value.len();
    let length = HEADER + GENERIC_HEADER + attribute.next_multiple_of(4);
    let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::from(short(length)).to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Sequence and port: one question at a time, and the kernel fills in the port.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(short(attribute).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length, 0);
    bytes
}

/// What follows the headers, or the refusal.
fn payload(answer: &[u8]) -> io::Result<Vec<u8>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).and_then(|bytes| bytes.first_chunk()).ok_or_else(malformed)?;
    if u16::from_ne_bytes(*kind) == NLMSG_ERROR {
        let code = answer.get(HEADER..).and_then(|bytes| bytes.first_chunk()).ok_or_else(malformed)?;
        return Err(io::Error::from_raw_os_error(Errno(i32::from_ne_bytes(*code).saturating_abs()).0));
    }
    answer.get(HEADER + GENERIC_HEADER..).map(<[u8]>::to_vec).ok_or_else(malformed)
}

/// The value of the first attribute of this kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(ATTRIBUTE..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_wants_it() {
        let bytes = request(0x10, 3, 2, b"netdev\0");
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32u32.to_ne_bytes());
        assert_eq!(bytes[4..8], [0x10u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        assert_eq!(bytes[16..20], [3, 1, 0, 0]);
        assert_eq!(bytes[20..24], [11u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
        assert_eq!(&bytes[24..], b"netdev\0\0");
    }

    #[test]
    fn attributes_are_found_behind_others_and_nonsense_ends() {
        let attributes = [&[5, 0, 1, 0, 7, 0, 0, 0][..], &[12, 0, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
        assert_eq!(attribute(&attributes, 1), Some(&[7][..]));
        assert_eq!(attribute(&attributes, 3), Some(&[1, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!(attribute(&attributes, 4), None);
        for nonsense in [&[][..], &[0, 0, 0, 0], &[3, 0, 9, 0, 0, 0], &[200, 0, 1, 0, 1]] {
            assert_eq!(attribute(nonsense, 1), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refusal =
            [&[36, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &(-19i32).to_ne_bytes()].concat();
        assert_eq!(payload(&refusal).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert!(payload(&[1, 2, 3]).is_err());
    }

    #[test]
    fn loopback_has_no_native_xdp() {
        assert!(matches!(has_native_xdp(1), Ok(Some(false) | None)), "{:?}", has_native_xdp(1));
    }
}
