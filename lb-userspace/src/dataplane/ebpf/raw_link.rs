//! What aya does not offer for pinned links: the interface they are on, and detaching that is done when it returns.
#![expect(unsafe_code, reason = "system calls with pointers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_DETACH: libc::c_int = 34;

/// A link: what it runs, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// The program.
    pub(super) program: u32,
    /// The interface; 0 once its device is gone or somebody detached the link (`bpftool link detach`): it then
    /// sees no frame, though its pin remains.
    pub(super) ifindex: u32,
}

/// `struct bpf_link_info` of linux/bpf.h as far as it concerns XDP and tcx links.
#[repr(C, align(8))]
#[derive(Default)]
struct RawInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    ifindex: u32,
    rest: [u32; 3],
}

/// `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
#[derive(Default)]
struct Get {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct Ask {
    fd: u32,
    length: u32,
    buffer: u64,
}

/// `union bpf_attr` for `BPF_LINK_DETACH`.
#[repr(C)]
struct Detach {
    fd: u32,
}

/// About the link pinned at `pin`.
pub(super) fn info(pin: &Path) -> io::Result<LinkInfo> {
    let link = open(pin)?;
    let mut raw = RawInfo::default();
    let mut ask = Ask {
        fd: link.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<RawInfo>()).unwrap_or(0),
        buffer: std::ptr::from_mut(&mut raw) as u64,
    };
    call(BPF_OBJ_GET_INFO_BY_FD, &mut ask)?;
    Ok(LinkInfo { program: raw.program, ifindex: raw.ifindex })
}

/// Takes the program of the link pinned at `pin` from its interface. Removing the pin does it too, but some time later:
/// the kernel leaves the end of a link to a work queue.
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    let link = open(pin)?;
    call(BPF_LINK_DETACH, &mut Detach { fd: link.as_raw_fd().cast_unsigned() }).map(drop)
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let fd = call(BPF_OBJ_GET, &mut Get { path: path.as_ptr() as u64, ..Get::default() })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attribute: &mut T) -> io::Result<libc::c_int> {
    let attribute: *mut T = attribute;
    // SAFETY: every caller passes a valid attribute of their command, whose pointers are to live memory of the length given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::try_from(result).unwrap_or(0)) }
}
