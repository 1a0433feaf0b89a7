//! What the kernel says about a pinned link (`BPF_OBJ_GET_INFO_BY_FD`); aya keeps the interface to itself.
#![expect(unsafe_code, reason = "two system calls with pointers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

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

/// Of the link pinned at `pin`.
pub(super) fn read(pin: &Path) -> io::Result<LinkInfo> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = Get { path: path.as_ptr() as u64, ..Get::default() };
    let fd = call(BPF_OBJ_GET, &mut get)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut raw = RawInfo::default();
    let mut ask = Ask {
        fd: link.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<RawInfo>()).unwrap_or(0),
        buffer: std::ptr::from_mut(&mut raw) as u64,
    };
    call(BPF_OBJ_GET_INFO_BY_FD, &mut ask)?;
    Ok(LinkInfo { program: raw.program, ifindex: raw.ifindex })
}

fn call<T>(command: libc::c_int, attribute: &mut T) -> io::Result<libc::c_int> {
    let attribute: *mut T = attribute;
    // SAFETY: both callers pass a valid attribute of their command, whose pointers are to live memory of the length given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::try_from(result).unwrap_or(0)) }
}
