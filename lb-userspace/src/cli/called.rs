//! By which name the program was called: its own, or that of a plugin of kubectl.
//!
//! kubectl runs `kubectl-barelb` for `kubectl barelb`, and asks `kubectl_complete-barelb` what could come next. Both are links to
//! the one binary.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, CommandFactory, FromArgMatches};

use super::{Cli, complain, completion};

/// The name of the plugin's file.
const PLUGIN: &str = "kubectl-barelb";
/// The file that kubectl asks for completions.
const COMPLETER: &str = "kubectl_complete-barelb";
/// How users call the plugin.
const AS_PLUGIN: &str = "kubectl barelb";

/// What the program is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Own,
    Plugin,
    Completer,
}

impl Called {
    fn of(path: &OsStr) -> Self {
        match Path::new(path).file_name().and_then(OsStr::to_str) {
            Some(PLUGIN) => Self::Plugin,
            Some(COMPLETER) => Self::Completer,
            Some(_) | None => Self::Own,
        }
    }

    /// The command line, whose usage says how it was called.
    fn command(self) -> Command {
        match self {
            Self::Own => Cli::command(),
            Self::Plugin | Self::Completer => Cli::command().bin_name(AS_PLUGIN),
        }
    }
}

/// Runs what the arguments of the process say.
pub fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let called = arguments.first().map_or(Called::Own, |path| Called::of(path));
    let mut command = called.command();
    if called == Called::Completer {
        return completion::answer(&mut command, arguments);
    }
    match command.try_get_matches_from_mut(arguments).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.run().or_else(|error| {
            // As whoever starts programs in Rust would print it.
            complain(format!("Error: {error:?}\n"))?;
            Ok(ExitCode::FAILURE)
        }),
        Err(error) => error.format(&mut command).exit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_decides() {
        for (path, expected) in [
            ("barelb", Called::Own),
            ("/usr/local/bin/barelb", Called::Own),
            ("/usr/local/bin/kubectl-barelb", Called::Plugin),
            ("kubectl_complete-barelb", Called::Completer),
            ("/kubectl-barelb/other", Called::Own),
        ] {
            assert_eq!(Called::of(OsStr::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn usage_says_how_it_was_called() {
        for (called, expected) in
            [(Called::Own, "Usage: barelb plan "), (Called::Plugin, "Usage: kubectl barelb plan ")]
        {
            let error = called.command().try_get_matches_from(["barelb", "plan", "--help"]).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
