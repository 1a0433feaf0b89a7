//! `cargo xtask`: everything a developer or a continuous integration job runs on BareLB.
//!
//! One file per command; the shared rooms are `workspace` (where things are), `process` (running programs),
//! `packages` (Debian packages), `remap` (paths that binaries must not name), `toolchain` (how the BPF objects are
//! compiled) and `objects` (what comes out).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its streams")]

mod bench;
mod build;
mod build_and_load;
mod cargo_tool;
mod cli;
mod cluster;
mod crds;
mod elsewhere;
mod fuzz;
mod image;
mod objects;
mod packages;
mod process;
mod remap;
mod rules;
mod test;
mod testbed;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its causes, but no backtrace: what failed is mostly another program, which said why.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
