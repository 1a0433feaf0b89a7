//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// True when this process may do everything: the owner of its `/proc` entry is its effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Looks a command up in `PATH` and in the folders for administrators, which users often have not in theirs.
pub(crate) fn find_command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// A file that may be run.
pub(crate) fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Prints the command, runs it with our own streams and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = display(command);
    eprintln!("+ {line}");
    let status = command.status().with_context(|| format!("can't start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status}); its own message is above");
    }
    Ok(())
}

/// Another program with the folder and the environment of a command; its arguments are its own.
pub(crate) fn instead(program: &Path, like: &Command) -> Command {
    let mut command = Command::new(program);
    if let Some(folder) = like.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Ends this process by becoming `command`, as root: by itself where we are root, by sudo where we are not.
pub(crate) fn replace_as_root(command: &Command) -> Result<()> {
    let mut root = as_root(command)?;
    eprintln!("+ {}", display(&root));
    let error = root.exec();
    Err(error).with_context(|| format!("can't start `{}`", display(command)))
}

/// The same command as root.
pub(crate) fn as_root(command: &Command) -> Result<Command> {
    let line = display(command);
    let mut root = if is_root() {
        Command::new(command.get_program())
    } else {
        let sudo = find_command("sudo")
            .with_context(|| format!("`{line}` needs root and there is no sudo: run this command as root"))?;
        let mut sudo = Command::new(sudo);
        sudo.arg(command.get_program());
        sudo
    };
    root.args(command.get_args());
    Ok(root)
}

/// Standard output of a command that only asks for something; none when it can't start or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it, without the environment.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = if program.is_absolute() { program.file_name() } else { None };
    let mut line = name.unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&quote(arg));
    }
    line
}

fn quote(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    if text.is_empty() || text.contains([' ', '"', '\'', '$', '*']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("/opt/tools/cargo");
        command.args(["test", "-p", "lb-core", "", "a b", "it's"]);
        assert_eq!(display(&command), r"cargo test -p lb-core '' 'a b' 'it'\''s'");
        assert_eq!(display(Command::new("apt-get").arg("update")), "apt-get update");
    }

    #[test]
    fn commands_are_found_or_not() {
        assert!(find_command("sh").is_some());
        assert_eq!(find_command("no-such-command-anywhere"), None);
    }

    #[test]
    fn asking_gives_the_answer_or_nothing() {
        assert_eq!(ask(Command::new("echo").arg("yes")).as_deref(), Some("yes\n"));
        assert_eq!(ask(&mut Command::new("false")), None);
        assert_eq!(ask(&mut Command::new("no-such-command-anywhere")), None);
    }
}
