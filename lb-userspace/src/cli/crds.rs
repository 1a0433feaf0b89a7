//! `barelb crds`: print the custom resource definitions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::k8s::crd;

/// Arguments of `barelb crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// Write one file for each kind into this directory instead.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Crds {
    /// Prints or writes them.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn run(self) -> Result<ExitCode> {
        let files = crd::manifests().context("making the CRDs")?;
        if let Some(dir) = self.output {
            write(&dir, &files)?;
        } else {
            let documents: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
            print!("{}", documents.join("---\n"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(dir: &Path, files: &[(String, String)]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    for (name, text) in files {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
