//! Programs for tests and benchmarks only.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// On the host the crate is only checked.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
