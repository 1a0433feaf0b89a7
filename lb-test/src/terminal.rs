//! A terminal with a program on it: what it shows, keys, and whether it was left as it was found.
//!
//! It is a pseudo-terminal of the kernel's (pty(7)). Of the language that terminals are spoken to in it knows what ratatui says
//! by crossterm: places, characters, and colours, which it passes over.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::run;

mod screen;

use screen::Screen;

const POLL: Duration = Duration::from_millis(10);

/// A terminal, and the program whose terminal it is; killed on drop.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The side of whoever sits before it.
    person: File,
    /// The side of the program. While it is open, nothing that was written is lost.
    program: OwnedFd,
    /// Whether it was in lines, with an echo and with ^C, before the program came.
    before: Manners,
    said: Vec<u8>,
    size: (u16, u16),
}

/// How a terminal treats what is typed: the flags that a program changes which draws on it.
type Manners = [bool; 4];

impl Terminal {
    /// Starts the program on a terminal with so many columns and rows.
    pub fn start(mut command: Command, size: (u16, u16)) -> Result<Self> {
        let (person, program) = pair(size).context("making a pseudo-terminal")?;
        let before = manners(&program)?;
        let side = || Ok::<_, io::Error>(File::from(program.try_clone()?));
        command.stdin(side()?).stdout(side()?).stderr(side()?).env("TERM", "xterm-256color");
        // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
        unsafe { command.pre_exec(take_input_as_terminal) };
        let line = run::command_line(&command);
        let child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        Ok(Self { child, person, program, before, said: Vec::new(), size })
    }

    /// What it shows now, line by line.
    pub fn shown(&mut self) -> Result<Vec<String>> {
        self.listen()?;
        Ok(Screen::after(&self.said, self.size).lines())
    }

    /// Waits until it shows what is looked for; what it shows then.
    pub fn shows(&mut self, limit: Duration, look: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait()?;
            let shown = self.shown()?;
            if look(&shown) {
                return Ok(shown);
            }
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "the terminal does not show it ({ended:?}):\n{}\n{:?}",
                shown.join("\n"),
                String::from_utf8_lossy(&self.said)
            );
            thread::sleep(POLL);
        }
    }

    /// Presses keys, as a terminal sends them.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.person.write_all(keys.as_bytes()).context("pressing keys")
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: kill has no memory effects, and the child is not reaped while `self` is borrowed.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(io::Error::last_os_error()).context("sending a signal");
        }
        Ok(())
    }

    /// Waits until the program has ended, and whoever sits there has their terminal back: in its manners, with a cursor, and
    /// showing what it showed before.
    pub fn end(mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let status = loop {
            self.listen()?;
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("it goes on and shows:\n{}", self.shown()?.join("\n"));
            }
            thread::sleep(POLL);
        };
        self.listen()?;
        let screen = Screen::after(&self.said, self.size);
        let now = manners(&self.program)?;
        ensure!(now == self.before, "it is left with other manners: {:?}, now {now:?}", self.before);
        ensure!(screen.has_cursor(), "it is left without a cursor");
        ensure!(!screen.is_alternate(), "it is left with a picture on it");
        Ok(status)
    }

    /// Takes in what was written to it.
    fn listen(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.person.read(&mut bytes) {
                Ok(count) => self.said.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading what a terminal is told"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it has ended and been reaped already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Begins a session whose terminal is the standard input: ^C and signals of the terminal are for whoever is in it.
fn take_input_as_terminal() -> io::Result<()> {
    // SAFETY: it has no memory effects.
    if unsafe { libc::setsid() } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a live descriptor, and a flag in place of a pointer.
    if unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Both sides of a new terminal.
fn pair((columns, rows): (u16, u16)) -> io::Result<(File, OwnedFd)> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut person, mut program) = (-1, -1);
    // SAFETY: two places for descriptors and a live size; neither a name nor other settings are asked for.
    let made = unsafe {
        libc::openpty(&raw mut person, &raw mut program, ptr::null_mut(), ptr::null(), &raw const size)
    };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: openpty has opened it, and nobody else knows of it.
    let person = unsafe { OwnedFd::from_raw_fd(person) };
    // SAFETY: as above.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    for (side, command, flags) in [
        (&person, libc::F_SETFL, libc::O_NONBLOCK),
        (&person, libc::F_SETFD, libc::FD_CLOEXEC),
        (&program, libc::F_SETFD, libc::FD_CLOEXEC),
    ] {
        // SAFETY: a live descriptor, and flags without a pointer.
        if unsafe { libc::fcntl(side.as_raw_fd(), command, flags) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((person.into(), program))
}

fn manners(side: &OwnedFd) -> Result<Manners> {
    let mut termios = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: a live descriptor, and a place for the settings.
    if unsafe { libc::tcgetattr(side.as_raw_fd(), termios.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error()).context("asking for the settings of a terminal");
    }
    // SAFETY: tcgetattr has filled it.
    let flags = unsafe { termios.assume_init() };
    let [of_lines, echo, signals] =
        [libc::ICANON, libc::ECHO, libc::ISIG].map(|flag| flags.c_lflag & flag != 0);
    Ok([of_lines, echo, signals, flags.c_oflag & libc::OPOST != 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Terminal {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Terminal::start(command, (20, 4)).unwrap()
    }

    #[test]
    fn a_program_sees_a_terminal_and_the_keys_that_are_pressed() {
        let mut terminal = shell("test -t 1 && read line && echo got $line && read line; exit 3");
        terminal.press("abc\r").unwrap();
        terminal.shows(LIMIT, |lines| lines.iter().any(|line| line == "got abc")).unwrap();
        terminal.press("x\r").unwrap();
        assert_eq!(terminal.end(LIMIT).unwrap().code(), Some(3));
    }

    #[test]
    fn a_terminal_that_is_left_otherwise_is_told() {
        for (script, expected) in [
            ("stty raw -echo", "other manners"),
            ("printf '\\033[?25l'", "without a cursor"),
            ("printf '\\033[?1049h'", "with a picture"),
        ] {
            let error = shell(script).end(LIMIT).unwrap_err().to_string();
            assert!(error.contains(expected), "{script}: {error}");
        }
    }
}
