//! Other programs that answer for addresses of Services, by the processes of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A program that answers for addresses of Services too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rival {
    MetallbSpeaker,
    ServiceLb,
    KubeVip,
}

/// Rivals among the processes under `proc`; containers of this node are among them, if it is the host's.
pub(super) fn running(proc: &Path) -> BTreeSet<Rival> {
    let Ok(entries) = fs::read_dir(proc) else { return BTreeSet::new() };
    let judge = |entry: fs::DirEntry| {
        let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
        rival(&read("cmdline"), || read("environ"))
    };
    entries.filter_map(Result::ok).filter_map(judge).collect()
}

/// By command line and environment, both separated by zero bytes.
fn rival(command: &[u8], environment: impl Fn() -> Vec<u8>) -> Option<Rival> {
    let mut words = command.split(|byte| *byte == 0);
    let program = words.next()?.rsplit(|byte| *byte == b'/').next()?;
    match program {
        b"speaker" => Some(Rival::MetallbSpeaker),
        b"kube-vip" => Some(Rival::KubeVip),
        // klipper-lb is a shell script named `entry`, in pods that k3s names svclb-<service>-….
        b"sh" | b"entry" if is_entry(program, words.next()) && is_svclb(&environment()) => {
            Some(Rival::ServiceLb)
        }
        _ => None,
    }
}

fn is_entry(program: &[u8], argument: Option<&[u8]>) -> bool {
    program == b"entry" || argument.is_some_and(|path| path == b"entry" || path.ends_with(b"/entry"))
}

fn is_svclb(environment: &[u8]) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"HOSTNAME=svclb-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_by_command_line_and_environment() {
        let svclb = b"PATH=/bin\0HOSTNAME=svclb-traefik-0a1b2c3d-x7k2p\0DEST_IPS=10.43.0.9\0";
        let other = b"HOSTNAME=web-0\0NOTE=HOSTNAME=svclb-\0";
        for (command, environment, expected) in [
            (&b"/speaker\0--port=7472\0"[..], &other[..], Some(Rival::MetallbSpeaker)),
            (b"/usr/local/bin/kube-vip\0manager\0", other, Some(Rival::KubeVip)),
            (b"/bin/sh\0/usr/bin/entry\0", svclb, Some(Rival::ServiceLb)),
            (b"entry\0", svclb, Some(Rival::ServiceLb)),
            (b"/bin/sh\0/usr/bin/entry\0", other, None),
            (b"/bin/sh\0-c\0sleep 1\0", svclb, None),
            (b"/bin/bash\0-c\0speaker\0", other, None),
            (b"", svclb, None),
        ] {
            let found = rival(command, || environment.to_vec());
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(command));
        }
    }

    #[test]
    fn every_process_is_looked_at() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, command) in [("1", &b"/sbin/init\0"[..]), ("20", b"/speaker\0"), ("self", b"/kube-vip\0")] {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("cmdline"), command).unwrap();
        }
        assert_eq!(running(proc.path()), [Rival::MetallbSpeaker, Rival::KubeVip].into());
        assert_eq!(running(Path::new("/no-such-folder")), BTreeSet::new());
    }
}
