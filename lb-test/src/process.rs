//! A child process that cannot outlive its guard.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::interrupt;
use crate::namespace::Namespace;
use crate::run;

mod frozen;

pub use frozen::Frozen;

const POLL: Duration = Duration::from_millis(5);
const FREEZE_LIMIT: Duration = Duration::from_secs(5);
/// How long a program may take to end in order.
pub(crate) const END: Duration = Duration::from_secs(30);
/// Lines of the log shown when a program fails.
const LOG_TAIL: usize = 20;

/// A running child; killed with SIGKILL and waited for on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    // Keeps the namespace until the child is gone.
    _namespace: Option<Namespace>,
}

impl Process {
    /// Starts `command` in a process group of its own (so that Ctrl-C reaches only its maker), with no signal blocked
    /// and both output streams appended to the file `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        Self::spawn_in(&mut command, log, None)
    }

    pub(crate) fn spawn_in(command: &mut Command, log: &Path, namespace: Option<Namespace>) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let out = file.with_context(|| format!("cannot open the log {}", log.display()))?;
        let err = out.try_clone()?;
        let line = run::command_line(command);
        interrupt::hear_signals(command);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start `{line}`: is the program installed?"))?;
        Ok(Self { child, log: log.to_owned(), _namespace: namespace })
    }

    /// Process id of the program itself: `ip netns exec` replaces itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for example `libc::SIGTERM`.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.pid())?;
        // SAFETY: kill has no memory effects, and the child is not reaped while `self` is borrowed.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("cannot send signal {signal} to {pid}"));
        }
        Ok(())
    }

    /// Sends a signal to it and to all it has started, as far as they are still of its group.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let group = -i32::try_from(self.pid())?;
        // SAFETY: as above; the group has the number of its first process, which is not reaped yet.
        if unsafe { libc::kill(group, signal) } != 0 {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("cannot send signal {signal} to the group {}", self.pid()));
        }
        Ok(())
    }

    /// SIGTERM: ends in order.
    pub fn term(&self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// SIGKILL, and waits until it has gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP, and waits until it is frozen: a signal sent right behind would otherwise overtake it.
    pub fn stop(&self) -> Result<()> {
        self.signal(libc::SIGSTOP)?;
        let deadline = Instant::now() + FREEZE_LIMIT;
        while !self.is_frozen()? {
            ensure!(
                Instant::now() < deadline,
                "process {} was not frozen within {FREEZE_LIMIT:?}",
                self.pid()
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The state is the first field behind the name, which is in brackets and may hold anything.
        Ok(stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T')))
    }

    /// SIGCONT: goes on.
    pub fn cont(&self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    /// False once it has ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its exit status, or `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// What it wrote so far, and what was in the file before.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        last_lines(&self.log())
    }

    /// SIGTERM, and waits until it has ended in order.
    pub fn end(&mut self) -> Result<()> {
        self.term()?;
        let status = self.wait(END)?.with_context(|| format!("it goes on:\n{}", self.tail()))?;
        ensure!(status.success(), "it ended with {status}; its log ends:\n{}", self.tail());
        Ok(())
    }
}

/// The end of a log, as an error shows it.
pub fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended and been reaped already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::interrupt::Interrupt;

    #[test]
    fn a_child_ends_by_sigterm_though_its_maker_has_blocked_it() {
        let folder = tempfile::tempdir().unwrap();
        // A thread of its own: the mask would stay with the one that runs other tests.
        thread::scope(|scope| {
            scope.spawn(|| {
                let _interrupt = Interrupt::block().unwrap();
                let mut sleep = Command::new("sleep");
                sleep.arg("60");
                let mut child = Process::spawn(sleep, &folder.path().join("log")).unwrap();
                child.term().unwrap();
                let status = child.wait(Duration::from_secs(5)).unwrap();
                assert_eq!(status.and_then(|status| status.signal()), Some(libc::SIGTERM));
            });
        });
    }
}
