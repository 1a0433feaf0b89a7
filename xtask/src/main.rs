//! `cargo xtask`: everything a developer or a continuous integration job runs on BareLB.
//!
//! One file per command; the shared rooms are `workspace` (where things are), `process` (running programs),
//! `packages` (Debian packages), `toolchain` (how the BPF objects are compiled) and `objects` (what comes out).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its streams")]

mod bench;
mod build;
mod build_and_load;
mod fuzz;
mod objects;
mod packages;
mod process;
mod test;
mod toolchain;
mod workspace;

use clap::Parser;

/// Builds, tests, measures and shows BareLB.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    Build(build::Args),
    BuildAndLoad(build_and_load::Args),
    Test(test::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
}

fn main() -> anyhow::Result<()> {
    let workspace = workspace::Workspace::locate()?;
    match Command::parse() {
        Command::Build(args) => build::run(&workspace, &args),
        Command::BuildAndLoad(args) => build_and_load::run(&workspace, &args),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Fuzz(args) => fuzz::run(&workspace, &args),
    }
}
