//! `cargo xtask build-and-load`: sets up what is missing, builds, and shows BareLB at work.
//!
//! Without arguments in a lab of network namespaces on this machine; with an interface on the real network.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{as_root, display, replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, packages};

/// Set up, build and run: the lab of namespaces, or an agent on a real interface.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after the proof, with exit code 0 when it holds; otherwise the lab stays until Ctrl-C.
    #[arg(long, conflicts_with = "iface")]
    once: bool,
    /// Run an agent on this interface of the machine instead of the lab.
    #[arg(long, value_name = "IF", requires = "config")]
    iface: Option<String>,
    /// Folder with Services, pools and advertisements as YAML, for `--iface`.
    #[arg(long, value_name = "DIR", requires = "iface")]
    config: Option<PathBuf>,
    /// More arguments for the lab, or for the agent with `--iface`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the lab or the agent takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut command = if let (Some(iface), Some(config)) = (&args.iface, &args.config) {
        on_interface(workspace, iface, config, &args.more)?
    } else {
        lab(workspace, args.once)?
    };
    command.args(&args.more);
    replace_as_root(&command)
}

/// A standalone agent on a real interface, after a check of it.
fn on_interface(workspace: &Workspace, iface: &str, config: &Path, more: &[String]) -> Result<Command> {
    ensure!(
        config.is_dir(),
        "--config {}: there is no such folder; it holds the manifests",
        config.display()
    );
    let barelb = build::release(workspace, &[])?;
    let places = places(more);
    let mut check = Command::new(&barelb);
    check.args(["check", "--interface", iface]).args(&places);
    run_program(&mut as_root(&check)?)
        .ok()
        .with_context(|| format!("{iface} is not fit yet: each FAIL above says what to do"))?;
    let tool = |verb: &str| {
        let mut command = Command::new(&barelb);
        display(command.arg(verb).args(&places))
    };
    println!(
        "\nThe agent runs until Ctrl-C; its data plane answers on for the grace. From another terminal, as root:"
    );
    let status = format!("ls {}", config.join("status").display());
    for (what, command) in [
        ("what it answers, for whom, until when", tool("inspect")),
        ("what it assigned, and what is wrong", status),
        ("afterwards: remove programs, maps and groups", tool("detach") + " --all"),
    ] {
        println!("  {what}:\n    {command}");
    }
    println!();
    let mut agent = Command::new(barelb);
    agent.arg("agent").arg("--standalone").arg(config).args(["--interface", iface]);
    Ok(agent)
}

/// Those of the agent's arguments that say where its pins and its socket are: the other verbs take them too.
fn places(more: &[String]) -> Vec<String> {
    let mut places = Vec::new();
    let mut more = more.iter();
    while let Some(argument) = more.next() {
        let (name, value) =
            argument.split_once('=').map_or((&argument[..], None), |(name, value)| (name, Some(value)));
        if matches!(name, "--bpffs" | "--state-dir") {
            let value = value.map(str::to_owned).or_else(|| more.next().cloned());
            places.extend([name.to_owned()].into_iter().chain(value));
        }
    }
    places
}

fn lab(workspace: &Workspace, once: bool) -> Result<Command> {
    let barelb = build::release(workspace, packages::LAB)?;
    let mut build_lab = workspace.cargo();
    build_lab.args(["build", "--release", "--package", "lb-test", "--bin", "barelb-lab"]);
    run_program(&mut build_lab)?;
    let mut command = Command::new(workspace.target().join("release/barelb-lab"));
    command.arg("--barelb").arg(barelb);
    if once {
        command.arg("--once");
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_verbs_get_the_places_of_the_agent() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let more = words("--grace 10s --bpffs /b --xdp-mode=tcx --state-dir=/s --max-vips 9");
        assert_eq!(places(&more), words("--bpffs /b --state-dir /s"));
        assert_eq!(places(&words("--bpffs")), ["--bpffs"]);
        assert_eq!(places(&[]), Vec::<String>::new());
    }
}
