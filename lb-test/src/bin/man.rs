//! `barelb-man FOLDER`: the man pages of `barelb`, one for each verb, for a release.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use lb_userspace::cli::Cli;

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from).context("which folder? `barelb-man FOLDER`")?;
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), &folder)
        .with_context(|| format!("can't write man pages into {}", folder.display()))
}
