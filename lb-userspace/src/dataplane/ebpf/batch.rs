//! The batch operations of bpf(2) (kernel 5.6), which aya does not wrap: whole maps in a few system calls.
#![expect(unsafe_code, reason = "one system call with pointers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::Pod;

const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// Entries per call. Larger than the fullest bucket of a hash map, which must fit into one call.
const CHUNK: usize = 4096;

/// `union bpf_attr`, member `batch` (linux/bpf.h).
#[expect(clippy::struct_field_names, reason = "the names of linux/bpf.h")]
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls `each` with every entry of a map; `width` as in [`Walk::part`].
pub(super) fn read(
    map: BorrowedFd<'_>,
    key_size: usize,
    width: usize,
    mut each: impl FnMut(&[u8], &[u8]),
) -> io::Result<()> {
    let mut walk = Walk::default();
    while walk.part(map, (key_size, width), &mut each)? {}
    Ok(())
}

/// A walk over a map, one system call at a time. Without changes of the map every walk has the same parts.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Hash maps continue at a bucket number, arrays at a key of 4 bytes.
    position: Option<u32>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Walk {
    /// Calls `each` with every entry of the next part; false after the last one, from where it begins anew. `width` =
    /// bytes of one value (for a per-CPU map: of all CPUs together).
    pub(super) fn part(
        &mut self,
        map: BorrowedFd<'_>,
        sizes: (usize, usize),
        each: impl FnMut(&[u8], &[u8]),
    ) -> io::Result<bool> {
        self.entries(map, sizes, CHUNK, each)
    }

    /// Calls `each` with `count` values of an array, or as many as there are and one call has, from the key `first` on;
    /// `width` as in [`Walk::part`].
    pub(super) fn range(
        &mut self,
        map: BorrowedFd<'_>,
        first: u32,
        (count, width): (usize, usize),
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        // An array goes on behind the key it is told.
        self.position = first.checked_sub(1);
        self.entries(map, (size_of::<u32>(), width), count.min(CHUNK), |_, value| each(value)).map(drop)
    }

    fn entries(
        &mut self,
        map: BorrowedFd<'_>,
        (key_size, width): (usize, usize),
        count: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> io::Result<bool> {
        self.keys.resize(count * key_size, 0);
        self.values.resize(count * width, 0);
        let mut next = 0_u32;
        let mut batch = Batch {
            in_batch: self.position.as_ref().map_or(0, |position| std::ptr::from_ref(position) as u64),
            out_batch: std::ptr::from_mut(&mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            map_fd: descriptor(map),
            ..Batch::default()
        };
        let result = call(BPF_MAP_LOOKUP_BATCH, &mut batch);
        // The end of the map; the count still says how many entries came with it.
        let last = matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ENOENT));
        self.position = result.is_ok().then_some(next);
        if !last {
            result?;
        }
        let count = (batch.count as usize).min(count);
        for (key, value) in self.keys.chunks_exact(key_size).zip(self.values.chunks_exact(width)).take(count)
        {
            each(key, value);
        }
        Ok(!last)
    }

    /// The next part is the first one.
    pub(super) fn restart(&mut self) {
        self.position = None;
    }
}

/// Inserts or replaces entries.
pub(super) fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    for (keys, values) in keys.chunks(CHUNK).zip(values.chunks(CHUNK)) {
        let mut batch = Batch {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX),
            map_fd: descriptor(map),
            ..Batch::default()
        };
        call(BPF_MAP_UPDATE_BATCH, &mut batch)?;
    }
    Ok(())
}

/// Removes entries; one that is not there is no error.
pub(super) fn delete<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut rest = keys;
    while !rest.is_empty() {
        let chunk = rest.len().min(CHUNK);
        let mut batch = Batch {
            keys: rest.as_ptr() as u64,
            count: u32::try_from(chunk).unwrap_or(u32::MAX),
            map_fd: descriptor(map),
            ..Batch::default()
        };
        match call(BPF_MAP_DELETE_BATCH, &mut batch) {
            Ok(()) => rest = &rest[chunk..],
            // The kernel stops at the first key that is not there; go on behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                rest = &rest[(batch.count as usize + 1).min(rest.len())..];
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn descriptor(map: BorrowedFd<'_>) -> u32 {
    map.as_raw_fd().cast_unsigned()
}

fn call(command: libc::c_int, batch: &mut Batch) -> io::Result<()> {
    let size = size_of::<Batch>();
    // SAFETY: `batch` is a valid attribute of this size, and its pointers address buffers that hold `count` keys and
    // values of the sizes the map was created with (checked when it was opened) and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(batch), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
