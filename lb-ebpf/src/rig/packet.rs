//! Packet pointers.
//!
//! All programs here read and write frames in words of up to eight bytes at constant offsets. Frames start at
//! multiples of 8 on a veth and in `BPF_PROG_RUN` (headroom of 256 bytes on a page); where they did not, the
//! machines this runs on (amd64, arm64) would do the unaligned access in hardware.

use core::arch::asm;
use core::mem::offset_of;

use aya_ebpf::bindings::{__sk_buff, xdp_md};

/// First byte of the frame, and one past its last.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn of_xdp(ctx: *mut xdp_md) -> Self {
        Self {
            start: pointer::<{ offset_of!(xdp_md, data) }, _>(ctx),
            end: pointer::<{ offset_of!(xdp_md, data_end) }, _>(ctx),
        }
    }

    #[inline(always)]
    pub(crate) fn of_skb(skb: *mut __sk_buff) -> Self {
        Self {
            start: pointer::<{ offset_of!(__sk_buff, data) }, _>(skb),
            end: pointer::<{ offset_of!(__sk_buff, data_end) }, _>(skb),
        }
    }

    /// Whether it has `len` bytes. The accesses below are within what was asked for here.
    #[inline(always)]
    pub(crate) fn has(self, len: usize) -> bool {
        self.start + len <= self.end
    }

    /// # Safety
    /// [`Packet::has`] was true for `at + size_of::<T>()`.
    #[inline(always)]
    pub(crate) unsafe fn load<T: Copy>(self, at: usize) -> T {
        // SAFETY: within the frame, as the caller promises; any bytes are a T (integers only).
        unsafe { *((self.start + at) as *const T) }
    }

    /// # Safety
    /// As for [`Packet::load`].
    #[inline(always)]
    pub(crate) unsafe fn store<T: Copy>(self, at: usize, value: T) {
        // SAFETY: within the frame, as the caller promises.
        unsafe { *((self.start + at) as *mut T) = value };
    }
}

/// The packet pointer in the 32-bit field at `OFFSET` of the context; the verifier makes it a 64-bit one. In
/// assembly, because LLVM might copy a 32-bit number through a 32-bit register, which cuts the pointer.
#[inline(always)]
fn pointer<const OFFSET: usize, C>(ctx: *mut C) -> usize {
    let value: u64;
    // SAFETY: reads one field of the program's own context.
    unsafe {
        asm!(
            "{value} = *(u32 *)({ctx} + {offset})",
            value = out(reg) value,
            ctx = in(reg) ctx,
            offset = const OFFSET,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    value as usize
}
