//! `cargo xtask bench failover`: how long until another node answers, BareLB beside keepalived.

use anyhow::Result;

use super::build_program;
use crate::process::replace_as_root;
use crate::workspace::Workspace;
use crate::{build, packages, testbed};

/// Where the trials are saved, below the target folder.
const RECORDS: &str = "failover.jsonl";

/// Measure how long it takes another node to answer when one dies, and write the part of it in docs/reliability.md.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Arguments for the program that measures: --case C, --trials N, --resume, --with SYSTEM, --soak 1h; see
    /// `cargo xtask bench failover -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the benchmark takes this process over.
pub(super) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    // It finds what this builds where it is left.
    build::release(workspace, &[packages::LAB, packages::TEST].concat())?;
    let mut command = build_program(workspace, "barelb-bench-failover")?;
    testbed::prepare(workspace)?;
    command.arg("--out").arg(workspace.root().join("docs/reliability.md"));
    command.arg("--records").arg(workspace.target().join(RECORDS));
    replace_as_root(command.args(&args.more))
}
