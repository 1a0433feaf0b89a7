//! Tells when a directory of manifests has to be read again.
//!
//! ```text
//! inotify on DIR ──┐
//!                  ├─> quiet for 50 ms (at most 1 s of waiting) ──> changed()
//! tick every 2 s ──┘
//! ```
//!
//! The tick finds what inotify can't tell: that the directory was replaced by another one, that the target of a
//! symlink changed, and, where inotify is not available (its limits are reached, a network file system), any
//! change at all. It says "look again", never what changed: the reader finds that out by itself.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use super::files::{Fingerprint, is_manifest};

#[cfg(test)]
mod tests;

/// A change is told when nothing has changed for this long, so that a file is read when it is complete.
const QUIET: Duration = Duration::from_millis(50);
/// But not later than this after the first change.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often the directory is looked at without being told.
const TICK: Duration = Duration::from_secs(2);

/// A directory whose changes are told.
#[derive(Debug)]
pub struct DirectoryWatch {
    dir: PathBuf,
    sender: mpsc::Sender<()>,
    receiver: mpsc::Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    tick: Interval,
    seen: Seen,
    noticed: Option<Noticed>,
}

/// Changes that were not told yet.
#[derive(Debug)]
struct Noticed {
    first: Instant,
    last: Instant,
}

/// What the tick compares: the directory itself, and what inotify does not tell about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    dir: Option<(u64, u64)>,
    files: BTreeMap<PathBuf, Option<Fingerprint>>,
}

impl DirectoryWatch {
    /// Watches a directory, which need not exist yet. Must be called inside a tokio runtime.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        // One place is enough: what counts is that anything happened.
        let (sender, receiver) = mpsc::channel(1);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Self {
            dir: dir.into(),
            sender,
            receiver,
            watcher: None,
            tick,
            seen: Seen::default(),
            noticed: None,
        };
        watch.arm();
        watch
    }

    /// Whether the kernel tells about changes; if not, they are found by looking every two seconds.
    pub fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Returns after something has changed. May return without a change.
    ///
    /// Cancelling it loses nothing, however often: what was noticed and when is kept, so that a caller that is woken
    /// by other things all the time is told no later than one that does nothing else.
    pub async fn changed(&mut self) {
        while let Some(due) = self.told_at().await {
            tokio::select! {
                biased;
                _event = self.receiver.recv() => self.notice(),
                () = sleep_until(due) => break,
            }
        }
        self.arm();
        self.noticed = None;
    }

    /// When the change that was noticed is told, after waiting for one; `None`: now.
    async fn told_at(&mut self) -> Option<Instant> {
        while self.noticed.is_none() {
            let told = tokio::select! {
                event = self.receiver.recv() => event.is_some(),
                _ = self.tick.tick() => false,
            };
            if told || self.looks_different() {
                self.notice();
            }
        }
        let due =
            self.noticed.as_ref().map(|noticed| (noticed.last + QUIET).min(noticed.first + LONGEST_WAIT));
        due.filter(|due| *due > Instant::now())
    }

    fn notice(&mut self) {
        let now = Instant::now();
        let first = self.noticed.as_ref().map_or(now, |noticed| noticed.first);
        self.noticed = Some(Noticed { first, last: now });
    }

    /// Watches the directory that now has the name, if it is another one than before.
    fn arm(&mut self) {
        let now = identity(&self.dir);
        if self.watcher.is_none() || now != self.seen.dir {
            self.watcher = match start(&self.dir, self.sender.clone()) {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    tracing::debug!(dir = %self.dir.display(), %error, "no inotify watch, looking every 2 s");
                    None
                }
            };
        }
        self.seen = self.look();
    }

    fn looks_different(&mut self) -> bool {
        if self.watcher.is_some() {
            // Only what the kernel does not tell about; the list of symlinks was made when something changed.
            let files = &self.seen.files;
            return identity(&self.dir) != self.seen.dir
                || files.iter().any(|(path, before)| fingerprint(path) != *before);
        }
        self.look() != self.seen
    }

    fn look(&self) -> Seen {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let all = self.watcher.is_none();
            let symlink = || entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if is_manifest(&entry.file_name().to_string_lossy()) && (all || symlink()) {
                let path = entry.path();
                let print = fingerprint(&path);
                files.insert(path, print);
            }
        }
        Seen { dir: identity(&self.dir), files }
    }
}

fn start(dir: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.need_rescan() && is_reading(event.kind)) {
            return;
        }
        // Full means that a change is waiting already; closed, that nobody asks any more.
        let _waiting = sender.try_send(());
    };
    let mut watcher = notify::recommended_watcher(tell)?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether an event only says that somebody reads, as we do ourselves.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta: io::Result<fs::Metadata> = fs::metadata(dir);
    meta.ok().map(|meta| (meta.dev(), meta.ino()))
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    fs::metadata(path).ok().map(|meta| Fingerprint::new(&meta))
}
