//! What a shell makes of a script, without running it: bash tells every program that it would start, with the words it
//! would give it. Only bash knows its own quotes, comments, pipes, functions and substitutions.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::scratch::{Scratch, write_program};

/// Ends of a word and of a command in a record.
const WORD: char = '\u{1f}';
const COMMAND: char = '\u{1e}';

/// There is no program in this folder, so bash asks the function about each.
const NOWHERE: &str = "/nonexistent";

/// Writes one command down in one write, so that those of a pipe do not mix.
const RECORD: &str = "local line; printf -v line '%s\\x1f' \"$@\"; printf '%s\\x1e' \"$line\" >>\"$RECORD\"";

/// A program that is called by its path.
const BY_PATH: &str = "target/release/barelb";

/// The commands of each script. An error names the script that is none.
pub fn commands(scripts: &[&str]) -> Result<Vec<Vec<Vec<String>>>> {
    let folder = Scratch::new("shell")?;
    let by_path = folder.join(BY_PATH);
    fs::create_dir_all(by_path.parent().context("a path of one part")?)?;
    write_program(&by_path, &format!("#!/bin/bash\nf() {{ {RECORD}; }}\nf {BY_PATH} \"$@\"\n"))?;
    let mut input = format!("command_not_found_handle() {{ {RECORD}; }}\n");
    for (number, script) in scripts.iter().enumerate() {
        fs::write(folder.join(number.to_string()), script)?;
        // Each has a shell of its own, so that none ends or changes the others, and a record of its own: what `<(...)`
        // starts goes on after its script has ended.
        let record = record(&folder, number);
        writeln!(input, "( export RECORD='{}'; : >\"$RECORD\"; . ./{number} ) || true", record.display())?;
    }
    // By its path: the child's PATH counts already when it is looked for.
    let mut bash = Command::new("/bin/bash");
    bash.args(["--noprofile", "--norc"]).current_dir(folder.path());
    // Variables are empty, wherever this runs.
    bash.env_clear().env("PATH", NOWHERE);
    bash.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = bash.spawn().context("cannot start bash")?;
    child.stdin.take().context("bash has no standard input")?.write_all(input.as_bytes())?;
    // All that the scripts have started has ended when nobody can write there any more.
    let errors = String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned();
    if let Some(error) = errors.lines().next() {
        bail!("{}", named(error, scripts));
    }
    let found = scripts.iter().enumerate().map(|(number, script)| {
        let text = fs::read_to_string(record(&folder, number));
        text.map(|text| read(&text)).with_context(|| format!("bash has not read\n{script}"))
    });
    found.collect()
}

fn record(folder: &Scratch, number: usize) -> PathBuf {
    folder.join(format!("record-{number}"))
}

fn read(record: &str) -> Vec<Vec<String>> {
    let words = |command: &str| command.split_terminator(WORD).map(str::to_owned).collect();
    record.split_terminator(COMMAND).map(words).collect()
}

/// Bash's message, with the script in place of the number of its file.
fn named(error: &str, scripts: &[&str]) -> String {
    let number = error.strip_prefix("./").and_then(|rest| rest.split_once(':'));
    let script = number.and_then(|(number, _)| scripts.get(number.parse::<usize>().ok()?));
    script.map_or_else(|| error.to_owned(), |script| format!("{error}, in\n{script}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_bash_reads_it() {
        let scripts = [
            "ns=a; old=$(kubectl get x -o 'a b')  # old\nput() { kubectl patch \"$ns\" -p \"{$1}\"; }\nput \\\n  y\n",
            "target/release/barelb inspect | grep 'a  b' >file\ncat >here <<'END'\nkubectl no\nEND\n",
            "",
            "exit 3\nkubectl never",
        ];
        let found = commands(&scripts).unwrap();
        let lines: Vec<Vec<String>> =
            found.iter().map(|script| script.iter().map(|words| words.join("|")).collect()).collect();
        assert_eq!(lines[0], ["kubectl|get|x|-o|a b", "kubectl|patch|a|-p|{y}"]);
        let mut piped = lines[1].clone();
        piped.sort();
        assert_eq!(piped, ["cat", "grep|a  b", "target/release/barelb|inspect"]);
        assert!(lines[2].is_empty() && lines[3].is_empty());
    }

    /// Often, because what it is about depends on who is sooner.
    #[test]
    fn what_goes_on_after_its_script_is_told_of_that_script() {
        let scripts = ["diff <(cut -f 3 | sort) <(find . | sort)", "kubectl get x"];
        for _ in 0..20 {
            let found = commands(&scripts).unwrap();
            let mut programs: Vec<_> = found[0].iter().map(|words| words[0].as_str()).collect();
            programs.sort_unstable();
            assert_eq!(programs, ["cut", "diff", "find", "sort", "sort"]);
            assert_eq!(found[1], [["kubectl", "get", "x"]]);
        }
    }

    #[test]
    fn what_is_no_script_is_shown() {
        for wrong in ["kubectl 'get", "if true; then", "nonexistent/barelb x"] {
            let error = commands(&["kubectl get x", wrong]).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
