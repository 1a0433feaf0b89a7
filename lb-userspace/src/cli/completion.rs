//! `barelb completion`: what a shell needs to complete command lines; and what kubectl asks of its plugins.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use clap_complete::aot::{Shell, generate};
use clap_complete::{CompletionCandidate, engine};

use super::{Cli, print};

/// What kubectl passes on to the shell (cobra's directives): no file names, and no blank after what can go on.
const NO_FILES: u8 = 4;
const NO_BLANK: u8 = 2;

/// Arguments of `barelb completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell. In a shell's start-up file: `source <(barelb completion bash)`; as a plugin of kubectl the command is
    /// completed by kubectl's own completion, if a link kubectl_complete-barelb to this program is in $PATH.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub fn run(self) -> Result<ExitCode> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "barelb", &mut script);
        print(String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Answers kubectl: the arguments of the plugin with the one that is to be completed as the last, in; a line for each
/// candidate, out.
pub(super) fn answer(command: &mut Command, mut arguments: Vec<OsString>) -> Result<ExitCode> {
    if arguments.len() < 2 {
        arguments.push(OsString::new());
    }
    let (last, here) = (arguments.len().saturating_sub(1), env::current_dir().ok());
    let candidates =
        engine::complete(command, arguments, last, here.as_deref()).context("completing the arguments")?;
    print(lines(&candidates))?;
    Ok(ExitCode::SUCCESS)
}

fn lines(candidates: &[CompletionCandidate]) -> String {
    let mut text = String::new();
    let mut directive = NO_FILES;
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        if value.ends_with(['/', '=']) {
            directive |= NO_BLANK;
        }
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().map(|line| format!("\t{line}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _done = writeln!(text, "{value}{help}");
    }
    let _done = writeln!(text, ":{directive}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> =
            ["kubectl_complete-barelb"].iter().chain(arguments).map(OsString::from).collect();
        let last = arguments.len() - 1;
        lines(&engine::complete(&mut Cli::command(), arguments, last, None).unwrap())
    }

    #[test]
    fn kubectl_gets_a_line_for_each_candidate() {
        assert_eq!(
            complete(&["expl"]),
            "explain\tSay which node answers for an address, and why not another one: every decision with the rule that made it\n:4\n"
        );
        assert_eq!(complete(&["plan", "--del"]), "--delete\tWhat if these objects were deleted\n:4\n");
        let formats = complete(&["plan", "-o", "j"]);
        assert_eq!(formats, "json\tJSON\n:4\n");
        assert_eq!(complete(&["nothing-like-it"]), ":4\n");
    }

    #[test]
    fn each_shell_has_a_script_that_knows_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "barelb", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("explain") && script.contains("ignore-exclude-lb"), "{shell}");
        }
    }
}
