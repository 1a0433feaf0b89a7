//! Fuzz target `frame`: frames, against a responder written independently.
#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|data: &[u8]| barelb_fuzz::frame::run(data));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    barelb_fuzz::driver::main(barelb_fuzz::frame::run)
}
