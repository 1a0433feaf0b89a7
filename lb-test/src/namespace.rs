//! Network namespaces with a name, so that `ip netns exec` lets people look inside while a test runs.
//!
//! A new namespace is silent: no interface gets an IPv6 address by itself, nothing solicits routers, and added
//! addresses are usable at once (no duplicate address detection). What a test then sees on the wire is what it
//! caused, except multicast listener reports, which [`crate::wire::is_chatter`] knows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{io, panic, ptr, thread};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::{run, scratch, sweep};

const SILENT: [(&str, &str); 8] = [
    // 1 = none: no link-local address is generated.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/all/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
];

/// A network namespace; removed when the last clone of the handle is dropped.
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    // Opened once: entering by it works even if somebody deletes the name.
    file: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        sweep::remove_namespace(&self.name);
    }
}

impl Namespace {
    /// Makes a silent namespace, its loopback up. `prefix` tells people what it is for.
    pub fn new(prefix: &str) -> Result<Self> {
        let name = sweep::unique(prefix);
        run::output(Command::new("ip").args(["netns", "add", &name]))?;
        let opened = File::open(Path::new(sweep::NETNS).join(&name));
        let file = opened.inspect_err(|_| sweep::remove_namespace(&name))?;
        let namespace = Self { inner: Arc::new(Inner { name, file }) };
        namespace.enter(|| {
            for (key, value) in SILENT {
                write_sysctl(key, value)?;
            }
            Ok(())
        })?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs `f` on a fresh thread inside the namespace, with a `/sys` that shows its devices. Sockets opened
    /// there stay in the namespace wherever they are used. A panic in `f` goes on in the caller.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.join_thread()?;
                f()
            });
            inside.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }

    /// `program` as it will run inside the namespace. It sees the mounts of the host, but for `/sys`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program);
        command
    }

    /// Runs a command inside to its end; its standard output.
    pub fn exec(&self, program: &str, args: &[&str]) -> Result<String> {
        run::output(self.command(program).args(args))
    }

    /// `ip -n NAME args`: its standard output.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        run::output(Command::new("ip").args(["-n", self.name()]).args(args))
    }

    /// Starts a command inside, its output appended to the file `log`.
    pub fn spawn(&self, program: impl AsRef<OsStr>, args: &[&str], log: &Path) -> Result<Process> {
        self.spawn_command(self.command(program).args(args), log)
    }

    /// Starts what [`Namespace::command`] made, its output appended to the file `log`.
    pub fn spawn_command(&self, command: &mut Command, log: &Path) -> Result<Process> {
        Process::spawn_in(command, log, Some(self.clone()))
    }

    /// Sets a kernel parameter under `net.` inside, for example `net.ipv4.ip_forward`. An interface name with a
    /// dot is written with slashes: `net/ipv4/conf/eth0.5/forwarding`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
        self.enter(|| write_sysctl(&path, value))
    }

    /// Moves the calling thread, for good.
    fn join_thread(&self) -> Result<()> {
        // SAFETY: takes effect on this thread alone, by a descriptor that stays open.
        check(unsafe { libc::setns(self.inner.file.as_raw_fd(), libc::CLONE_NEWNET) })
            .with_context(|| format!("cannot enter the namespace {}", self.name()))?;
        // SAFETY: takes effect on this thread alone.
        check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).context("cannot unshare the mounts")?;
        // Slave: what the host mounts later appears here, what is mounted here stays here.
        // SAFETY: constant strings; null where the kernel ignores the argument.
        check(unsafe {
            libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), libc::MS_REC | libc::MS_SLAVE, ptr::null())
        })
        .context("cannot make the mounts private")?;
        scratch::mount("sysfs", Path::new("/sys"))
    }
}

fn write_sysctl(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key);
    fs::write(&path, value).with_context(|| format!("cannot set {} to {value}", path.display()))
}

fn check(done: i32) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
