//! `barelb man`: manual pages, made of what `--help` says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use super::{Cli, print};

/// Tools of system administrators.
const SECTION: &str = "8";

/// Arguments of `barelb man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Of which verb the page is, for example `explain svc`; without one it is that of the program itself. `barelb man plan |
    /// man -l -` shows it.
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Write all pages into this folder instead, for example /usr/local/share/man/man8.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Prints a page, or writes them all.
    pub fn run(self) -> Result<ExitCode> {
        let command = built();
        if let Some(dir) = &self.dir {
            write_all(&command, dir)?;
        } else {
            print(page(found(&command, &self.verb)?)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The command line with all names filled in. `help` has no page: what it prints is in the others.
fn built() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn found<'a>(command: &'a Command, verb: &[String]) -> Result<&'a Command> {
    let mut found = command;
    for name in verb {
        let Some(next) = found.find_subcommand(name) else {
            bail!("there is no verb {:?}: `barelb help` lists those that exist", verb.join(" "))
        };
        found = next;
    }
    Ok(found)
}

fn page(command: &Command) -> Result<String> {
    let mut text = Vec::new();
    of(command).render(&mut text).context("making the manual page")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn of(command: &Command) -> Page {
    let version = env!("CARGO_PKG_VERSION");
    Page::new(command.clone()).section(SECTION).source(format!("BareLB {version}")).manual("BareLB")
}

/// A page for the command and each of its verbs.
fn write_all(command: &Command, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making the folder {}", dir.display()))?;
    let mut open = vec![command];
    while let Some(command) = open.pop() {
        let path = dir.join(of(command).get_filename());
        fs::write(&path, page(command)?).with_context(|| format!("writing {}", path.display()))?;
        open.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write_all(&built(), folder.path()).unwrap();
        for name in ["barelb.8", "barelb-plan.8", "barelb-explain.8", "barelb-explain-svc.8"] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
        }
        let verbs = Cli::command().get_subcommands().count();
        assert!(fs::read_dir(folder.path()).unwrap().count() > verbs);
    }

    #[test]
    fn the_page_of_a_verb_is_found_by_its_words() {
        let command = built();
        let text = |verb: &[&str]| {
            let verb: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
            found(&command, &verb).and_then(page)
        };
        assert!(text(&[]).unwrap().contains("barelb\\-plan(8)"));
        let svc = text(&["explain", "svc"]).unwrap();
        assert!(svc.contains("barelb explain svc") && svc.contains("\\-\\-kubeconfig"), "{svc}");
        let error = text(&["explain", "nothing"]).unwrap_err().to_string();
        assert_eq!(error, "there is no verb \"explain nothing\": `barelb help` lists those that exist");
    }
}
