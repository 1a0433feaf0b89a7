//! Files that are replaced in one step.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Begins the names of temporary files.
pub(super) const TEMPORARY: &str = ".barelb-";

/// Puts a file in place of another, so that a reader sees all of it or nothing new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!("{TEMPORARY}{}-{serial}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
        file.write_all(content)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The file may not exist; the error that counts is the first one.
        drop(fs::remove_file(&temporary));
    }
    written
}
