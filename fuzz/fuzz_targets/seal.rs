//! Fuzz target `seal`: datagrams between agents.
#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|data: &[u8]| barelb_fuzz::seal::run(data));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    barelb_fuzz::driver::main(barelb_fuzz::seal::run)
}
