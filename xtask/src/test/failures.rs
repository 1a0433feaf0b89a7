//! Which tests of a level failed and what they said: repeated at the end of a run, where a reader looks first.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::display;

/// Lines of a failed test's output that are repeated: the first ones hold the assertion.
const LINES_EACH: usize = 25;

/// Runs `cargo test` as [`crate::process::run`] does; the reason of a failure names the tests.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let line = display(command);
    eprintln!("+ {line}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("can't start `{line}`"))?;
    let mut failures = Failures::default();
    if let Some(output) = child.stdout.take() {
        repeat(BufReader::new(output), &mut failures)
            .with_context(|| format!("can't read what `{line}` prints"))?;
    }
    let status = child.wait().with_context(|| format!("can't wait for `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status}){}", failures.text());
    }
    Ok(())
}

/// Passes everything through, byte by byte as it came, and looks at it line by line.
fn repeat(mut output: impl BufRead, failures: &mut Failures) -> io::Result<()> {
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        io::stdout().flush()?;
        failures.see(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

/// What libtest said about the tests that failed.
#[derive(Debug, Default)]
struct Failures {
    names: Vec<String>,
    /// Output of each failed test, under libtest's own headings.
    said: Vec<Said>,
    inside: bool,
}

#[derive(Debug)]
struct Said {
    heading: String,
    lines: Vec<String>,
}

impl Failures {
    fn see(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.names.push(name.to_owned());
        } else if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.said.push(Said { heading: line.to_owned(), lines: Vec::new() });
            self.inside = true;
        } else if line == "failures:" || line.starts_with("test result:") {
            self.inside = false;
        } else if let Some(said) = self.said.last_mut().filter(|_| self.inside)
            && !line.is_empty()
        {
            said.lines.push(line.to_owned());
        }
    }

    /// To follow the sentence that something failed.
    fn text(&self) -> String {
        if self.names.is_empty() && self.said.is_empty() {
            return "; its own message is above".to_owned();
        }
        let mut text = format!(": {}", self.names.join(", "));
        for said in &self.said {
            let left = said.lines.len().saturating_sub(LINES_EACH);
            let lines = said.lines.iter().take(LINES_EACH).fold(String::new(), |all, line| all + "\n" + line);
            // Writing to a string can't fail.
            write!(text, "\n\n{}{lines}", said.heading).unwrap_or_default();
            if left > 0 {
                write!(text, "\n({left} more lines are above)").unwrap_or_default();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests
test one ... ok
test two::of::them ... FAILED
test three - should panic ... FAILED

failures:

---- two::of::them stdout ----

thread 'two::of::them' panicked at lb-core/src/a.rs:3:9:
assertion `left == right` failed
  left: 1
 right: 2

---- three stdout ----
note: test did not panic as expected

failures:
    two::of::them
    three

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn seen(output: &str) -> Failures {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.see(line));
        failures
    }

    #[test]
    fn failed_tests_are_named_with_what_they_said() {
        let expected = ": two::of::them, three - should panic

---- two::of::them stdout ----
thread 'two::of::them' panicked at lb-core/src/a.rs:3:9:
assertion `left == right` failed
  left: 1
 right: 2

---- three stdout ----
note: test did not panic as expected";
        assert_eq!(seen(OUTPUT).text(), expected);
    }

    #[test]
    fn what_is_no_test_is_left_to_its_own_message() {
        assert_eq!(seen("error[E0425]: cannot find value `x`\n").text(), "; its own message is above");
    }

    #[test]
    fn long_outputs_are_cut() {
        let long = "a line\n".repeat(LINES_EACH + 3);
        let text = seen(&format!("test a ... FAILED\n---- a stdout ----\n{long}\nfailures:\n    a\n")).text();
        assert!(text.ends_with("a line\n(3 more lines are above)"), "{text}");
        assert_eq!(text.matches("a line").count(), LINES_EACH);
    }

    #[test]
    fn a_program_that_fails_without_tests_says_so() {
        let error = run(Command::new("false").arg("x")).unwrap_err().to_string();
        assert_eq!(error, "`false x` failed (exit status: 1); its own message is above");
        run(&mut Command::new("true")).unwrap();
    }
}
