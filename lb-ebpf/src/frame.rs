//! The only place with pointers into packets: one comparison with the end of the frame yields an array.

use core::arch::asm;
use core::mem::offset_of;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_skb_change_tail, bpf_skb_pull_data, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use lb_common::addr::Mac;
use lb_common::packet::ethernet::{self, EtherType};

/// A tag that lies beside the frame, not in it: TPID and TCI.
pub(crate) type OutOfBand = Option<(EtherType, [u8; 2])>;

/// A frame in one of the two hooks.
///
/// # Safety of implementations
/// `start` and `end` are the packet pointers of the context, read anew after each call that may move them.
pub(crate) trait Frame {
    /// First byte.
    fn start(&self) -> usize;
    /// One past the last byte that can be accessed directly.
    fn end(&self) -> usize;
    /// Index of the interface the frame came in by.
    fn ifindex(&self) -> u32;
    /// The outermost tag, when it was stripped.
    fn out_of_band(&self) -> OutOfBand;
    /// Bytes of the whole frame, also those that can't be accessed directly.
    fn len(&self) -> usize;
    /// Makes the first `len` bytes accessible, as far as the frame has them.
    fn pull(&self, len: usize);
    /// Cuts or grows the frame to `len` bytes; new bytes are zero. False = unchanged.
    fn resize(&self, len: usize) -> bool;

    /// The EtherType, if the frame has a whole Ethernet header. Not by way of `at`, whose reference would be
    /// compared with null: each instruction here is paid by all traffic of the node.
    #[inline(always)]
    fn ethertype(&self) -> Option<EtherType> {
        let start = self.start();
        if start + ethernet::HEADER > self.end() {
            return None;
        }
        // SAFETY: the comparison above proves that the 14 bytes of the header lie within the frame.
        let bytes = unsafe { *((start + 2 * size_of::<Mac>()) as *const [u8; 2]) };
        Some(ethernet::ethertype(bytes))
    }

    /// The octet at `AT` is accessible and another than this one. In the way of [`Frame::ethertype`], for the same reason.
    #[inline(always)]
    fn lacks<const AT: usize>(&self, octet: u8) -> bool {
        let start = self.start();
        // SAFETY: the comparison before it proves that the octet lies within the frame.
        start + AT < self.end() && unsafe { *((start + AT) as *const u8) } != octet
    }

    /// The `N` bytes at `offset`, or nothing if the frame ends before.
    #[inline(always)]
    fn at<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let first = self.within(offset, N)?;
        // SAFETY: N bytes from `first` lie within the frame; u8 has no alignment; nobody else writes a frame while
        // the program runs.
        Some(unsafe { &*(first as *const [u8; N]) })
    }

    /// As [`Frame::at`], to be written. The caller takes no two overlapping arrays.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the frame is the kernel's; the arrays taken do not overlap")]
    fn at_mut<const N: usize>(&self, offset: usize) -> Option<&mut [u8; N]> {
        let first = self.within(offset, N)?;
        // SAFETY: as in `at`; exclusive because callers take disjoint ranges.
        Some(unsafe { &mut *(first as *mut [u8; N]) })
    }

    /// Address of the byte at `offset`, if `len` bytes from there lie within the frame.
    ///
    /// `offset` is below 64 KiB. It may be a variable: the verifier ties what the comparison proves to
    /// the register that holds the address, so the sum is made in assembly: the compiler would compute it twice.
    #[inline(always)]
    fn within(&self, offset: usize, len: usize) -> Option<usize> {
        let mut sum = offset as u64;
        let start = self.start() as u64;
        // SAFETY: one addition.
        unsafe {
            asm!("{sum} += {start}", sum = inout(reg) sum, start = in(reg) start, options(nomem, nostack))
        };
        let first = sum as usize;
        if first + len > self.end() {
            return None;
        }
        Some(first)
    }
}

/// A frame in XDP; `FRAGS` = the program is loaded for multi-buffer frames.
pub(crate) struct Xdp<const FRAGS: bool>(*mut xdp_md);

impl<const FRAGS: bool> Xdp<FRAGS> {
    /// `context` is the program's own.
    #[inline(always)]
    pub(crate) fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }

    /// The context.
    #[inline(always)]
    pub(crate) fn context(&self) -> *mut xdp_md {
        self.0
    }
}

impl<const FRAGS: bool> Frame for Xdp<FRAGS> {
    #[inline(always)]
    fn start(&self) -> usize {
        pointer::<{ offset_of!(xdp_md, data) }, _>(self.0)
    }

    #[inline(always)]
    fn end(&self) -> usize {
        pointer::<{ offset_of!(xdp_md, data_end) }, _>(self.0)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn out_of_band(&self) -> OutOfBand {
        // XDP can't see it. Links that may strip tags use tcx.
        None
    }

    #[inline(always)]
    fn len(&self) -> usize {
        if FRAGS {
            // SAFETY: the context is the program's own.
            unsafe { bpf_xdp_get_buff_len(self.0) as usize }
        } else {
            self.end() - self.start()
        }
    }

    #[inline(always)]
    fn pull(&self, _: usize) {}

    #[inline(always)]
    fn resize(&self, len: usize) -> bool {
        let delta = len as i32 - (self.end() - self.start()) as i32;
        // SAFETY: the context is the program's own; all packet pointers are read anew afterwards.
        unsafe { bpf_xdp_adjust_tail(self.0, delta) == 0 }
    }
}

/// A frame on the tcx ingress hook.
pub(crate) struct Skb(*mut __sk_buff);

impl Skb {
    /// `context` is the program's own.
    #[inline(always)]
    pub(crate) fn new(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    /// The context.
    #[inline(always)]
    pub(crate) fn context(&self) -> *mut __sk_buff {
        self.0
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn start(&self) -> usize {
        pointer::<{ offset_of!(__sk_buff, data) }, _>(self.0)
    }

    #[inline(always)]
    fn end(&self) -> usize {
        pointer::<{ offset_of!(__sk_buff, data_end) }, _>(self.0)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn out_of_band(&self) -> OutOfBand {
        let skb = self.0;
        // SAFETY: the context is the program's own.
        if unsafe { (*skb).vlan_present } == 0 {
            return None;
        }
        // SAFETY: as above. `vlan_proto` is in network order already, `vlan_tci` in host order.
        let (proto, tci) = unsafe { ((*skb).vlan_proto, (*skb).vlan_tci) };
        Some((proto as u16, (tci as u16).to_be_bytes()))
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0).len as usize }
    }

    #[inline(always)]
    fn pull(&self, len: usize) {
        let len = if len < self.len() { len } else { self.len() };
        if self.start() + len > self.end() {
            // SAFETY: the context is the program's own; packet pointers are read anew afterwards. A failure
            // shows as a frame that is too short.
            unsafe { bpf_skb_pull_data(self.0, len as u32) };
        }
    }

    #[inline(always)]
    fn resize(&self, len: usize) -> bool {
        // SAFETY: the context is the program's own; packet pointers are read anew afterwards.
        unsafe { bpf_skb_change_tail(self.0, len as u32, 0) == 0 }
    }
}

/// The packet pointer in the 32-bit field at `OFFSET` of the context; the verifier makes it a 64-bit one.
///
/// In assembly, because to LLVM the field is a 32-bit number, which it may copy through a 32-bit register:
/// that cuts the pointer, and the verifier refuses the program.
#[inline(always)]
fn pointer<const OFFSET: usize, C>(ctx: *mut C) -> usize {
    let value: u64;
    // SAFETY: reads one field of the program's own context. `pure` with `readonly` lets the compiler join reads
    // with nothing but reads of memory between them; a helper that moves the frame counts as a write.
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
