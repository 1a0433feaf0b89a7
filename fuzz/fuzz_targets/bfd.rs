//! Fuzz target `bfd`: replies to liveness probes.
#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|data: &[u8]| barelb_fuzz::bfd::run(data));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    barelb_fuzz::driver::main(barelb_fuzz::bfd::run)
}
