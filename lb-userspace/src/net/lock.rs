//! One agent per bpffs: an exclusive lock on the directory that holds the pins.
//!
//! It is a flock(2) on the open directory. The lock belongs to the open file, so the kernel releases it
//! when the process ends in whatever way; no stale lock file can stay behind, and a bpffs, where no regular
//! file can be created, is enough.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a directory could not be locked at all; "another process has it" is no error.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The directory does not exist or may not be read.
    #[error("cannot open {} to lock it", path.display())]
    Open {
        /// The directory asked for.
        path: PathBuf,
        /// What open(2) or stat(2) said.
        #[source]
        source: io::Error,
    },
    /// The path names something other than a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path asked for.
        path: PathBuf,
    },
    /// The kernel refused the lock itself.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The directory asked for.
        path: PathBuf,
        /// What flock(2) said.
        #[source]
        source: io::Error,
    },
}

/// An exclusive lock on a directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    directory: File,
    path: PathBuf,
}

impl DirLock {
    /// Locks `path`, or returns `None` when another open file holds the lock.
    ///
    /// Never waits. A standby asks again every now and then, which also notices a directory that was removed and made anew.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, LockError> {
        let open_error = |source| LockError::Open { path: path.to_owned(), source };
        let directory = File::open(path).map_err(open_error)?;
        if !directory.metadata().map_err(open_error)?.is_dir() {
            return Err(LockError::NotADirectory { path: path.to_owned() });
        }
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(LockError::Lock { path: path.to_owned(), source });
            }
        }
        let lock = Self { directory, path: path.to_owned() };
        // Between open and lock the directory can have been removed and made anew; then the lock guards nothing.
        Ok(lock.is_current().then_some(lock))
    }

    /// Whether the path still names the directory that is locked.
    ///
    /// False after the directory was removed (`barelb detach --all`): the next agent would lock another one.
    pub fn is_current(&self) -> bool {
        let (Ok(held), Ok(named)) = (self.directory.metadata(), std::fs::metadata(&self.path)) else {
            return false;
        };
        (held.dev(), held.ino()) == (named.dev(), named.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::try_acquire(dir.path()).unwrap().unwrap();
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_none());
        drop(first);
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_some());
    }

    #[test]
    fn notices_a_directory_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        std::fs::create_dir(&path).unwrap();
        let lock = DirLock::try_acquire(&path).unwrap().unwrap();
        assert!(lock.is_current());
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        assert!(!lock.is_current());
        std::fs::create_dir(&path).unwrap();
        assert!(!lock.is_current());
        assert!(DirLock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = DirLock::try_acquire(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing, LockError::Open { .. }), "{missing}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DirLock::try_acquire(&file).unwrap_err();
        assert!(matches!(error, LockError::NotADirectory { .. }), "{error}");
    }
}
