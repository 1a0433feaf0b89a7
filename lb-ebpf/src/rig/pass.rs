//! The empty program: for veth ends that must receive what XDP sends, and as the zero of program times.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Hands every frame to the stack. For multi-buffer frames too, so that it never stands in the way.
#[xdp(frags)]
pub(crate) fn rig_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}
