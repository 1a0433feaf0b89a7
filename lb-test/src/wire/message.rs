//! One `recvmsg` on a packet socket: the frame, its kernel time and the tag that was taken out of it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::Frame;

/// More than 64 KiB, the most that GRO makes of several frames by default.
const FRAME_BYTES: usize = 66_000;
/// Position of the outer tag: behind both addresses.
const TAG_OFFSET: usize = 12;

/// `recvmsg` wants its control buffer aligned as `cmsghdr` is.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// Buffers of one receiver, reused from frame to frame.
pub(crate) struct Message {
    bytes: Vec<u8>,
    control: Control,
}

impl Message {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; FRAME_BYTES], control: Control([0; 256]) }
    }

    /// The next frame, or `None` when none is waiting.
    pub(crate) fn receive(&mut self, fd: &OwnedFd) -> Result<Option<Frame>> {
        let mut vector = libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: self.bytes.len() };
        // SAFETY: msghdr is plain data for which all zeroes is valid.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = self.control.0.as_mut_ptr().cast();
        header.msg_controllen = self.control.0.len();
        // SAFETY: every pointer in the header is to a live buffer of the length beside it.
        let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let Ok(length) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // ENETDOWN: the interface went down while we listened; that is for the test to notice.
                Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(None),
                _ => Err(error).context("cannot receive from a packet socket"),
            };
        };
        ensure!(header.msg_flags & libc::MSG_TRUNC == 0, "a frame larger than {FRAME_BYTES} bytes");
        let (at, tag) = control_data(&header);
        let mut bytes = self.bytes[..length].to_vec();
        if let Some(tag) = tag.filter(|_| length >= TAG_OFFSET) {
            bytes.splice(TAG_OFFSET..TAG_OFFSET, tag);
        }
        Ok(Some(Frame { bytes, at: at.unwrap_or_else(SystemTime::now) }))
    }
}

/// The kernel's receive time and the four bytes of the tag, if one was taken out.
fn control_data(header: &libc::msghdr) -> (Option<SystemTime>, Option<[u8; 4]>) {
    let (mut at, mut tag) = (None, None);
    // SAFETY: the kernel has filled the control buffer and its length; the macros stay inside it.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header inside the buffer.
        let control = unsafe { next.read_unaligned() };
        // SAFETY: as above; the data follows its header.
        let data = unsafe { libc::CMSG_DATA(next) };
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: the kernel puts a timespec behind this type.
            let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
            at = system_time(time);
        }
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: the kernel puts a tpacket_auxdata behind this type.
            let auxiliary = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
            tag = taken_tag(&auxiliary);
        }
        // SAFETY: `next` came from the same header.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    (at, tag)
}

fn system_time(time: libc::timespec) -> Option<SystemTime> {
    let since = Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn taken_tag(auxiliary: &libc::tpacket_auxdata) -> Option<[u8; 4]> {
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let known = auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let [p0, p1] = if known { auxiliary.tp_vlan_tpid } else { 0x8100 }.to_be_bytes();
    let [t0, t1] = auxiliary.tp_vlan_tci.to_be_bytes();
    Some([p0, p1, t0, t1])
}
