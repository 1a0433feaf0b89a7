//! A nightly of rustup with the sources of the core library.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::version::Version;
use crate::process::{ask, run};

/// An installed nightly that has rust-src and a usable version; the first by name.
pub(super) fn usable_nightly() -> Option<String> {
    nightlies(&ask(Command::new("rustup").args(["toolchain", "list"]))?)
        .into_iter()
        .find(|name| is_usable(name))
}

/// Installs the toolchain with rust-src unless it is there.
pub(super) fn install(toolchain: &str) -> Result<()> {
    if is_usable(toolchain) {
        return Ok(());
    }
    println!("installing by rustup: {toolchain} with rust-src, to compile the BPF program");
    let arguments = ["toolchain", "install", toolchain, "--profile", "minimal", "--component", "rust-src"];
    run(Command::new("rustup").args(arguments))
}

/// An installed nightly that has the runtime of AddressSanitizer, which libFuzzer's targets are linked with.
pub(crate) fn nightly_with_sanitizers() -> Option<String> {
    let has_runtime = |name: &String| {
        let query = ["run", name, "rustc", "--print", "target-libdir"];
        ask(Command::new("rustup").args(query))
            .is_some_and(|folder| Path::new(folder.trim()).join("librustc-nightly_rt.asan.a").is_file())
    };
    nightlies(&ask(Command::new("rustup").args(["toolchain", "list"]))?).into_iter().find(has_runtime)
}

fn is_usable(toolchain: &str) -> bool {
    let query =
        |argument: &[&str]| ask(Command::new("rustup").args(["run", toolchain, "rustc"]).args(argument));
    let version = query(&["--version"]).and_then(|text| Version::parse(&text));
    let has_sources = query(&["--print", "sysroot"]).is_some_and(|root| {
        Path::new(root.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
    });
    version.is_some_and(Version::is_usable) && has_sources
}

/// Names of nightlies in the output of `rustup toolchain list`, which marks some with words behind the name.
fn nightlies(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightlies_are_picked_from_the_list() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\n\
                    nightly-2026-05-20-x86_64-unknown-linux-gnu (override)\nno nightly here\n";
        assert_eq!(
            nightlies(list),
            ["nightly-x86_64-unknown-linux-gnu", "nightly-2026-05-20-x86_64-unknown-linux-gnu"]
        );
        assert!(nightlies("no installed toolchains\n").is_empty());
    }
}
