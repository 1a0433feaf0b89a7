//! `struct ifreq` (netdevice(7)): the argument of interface ioctls.

use std::os::fd::AsRawFd;

use socket2::Socket;

use super::errno::Errno;

/// The request number's type: `c_ulong` with glibc, `c_int` with musl.
pub(super) type Request = libc::Ioctl;

/// An ifreq for the interface `name`; `None` when the name is longer than the kernel's 15 bytes or contains a NUL.
pub(super) fn for_name(name: &str) -> Option<libc::ifreq> {
    let bytes = name.as_bytes();
    // SAFETY: ifreq is plain data (an array of bytes and a union of plain data); all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if bytes.is_empty() || bytes.len() >= request.ifr_name.len() || bytes.contains(&0) {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    Some(request)
}

/// Runs one interface ioctl on `socket`.
///
/// # Safety
/// When `request` carries a pointer, it must point to memory that is laid out and as large as `operation` demands,
/// writable, and not borrowed elsewhere during the call.
pub(super) unsafe fn run(
    socket: &Socket,
    operation: Request,
    request: &mut libc::ifreq,
) -> Result<(), Errno> {
    // SAFETY: `request` is a valid ifreq; what it points to is the caller's promise.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), operation, std::ptr::from_mut(request)) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_the_kernel_can_have() {
        assert!(for_name("eth0").is_some());
        assert!(for_name("exactly15bytes_").is_some());
        assert!(for_name("sixteen_bytes_xx").is_none());
        assert!(for_name("").is_none());
        assert!(for_name("a\0b").is_none());
    }
}
