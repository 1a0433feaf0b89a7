//! An archive that only its owner can read, and that is there as a whole or not at all; or one that goes on to another program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

/// Who reads it: its owner.
const MODE: u32 = 0o600;

/// An archive that is being written, beside the place where it will be.
pub(super) struct Archive {
    builder: Builder<GzEncoder<Box<dyn Write>>>,
    /// The folder in it that holds everything.
    folder: String,
    now: u64,
    /// Nothing: it goes to standard output.
    draft: Option<Draft>,
}

/// A file that is removed unless it was put in its place.
struct Draft {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It was renamed, or it can't be helped.
        drop(fs::remove_file(&self.temporary));
    }
}

impl Draft {
    fn new(place: &Path) -> io::Result<Self> {
        if place.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let name = place.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let temporary = place.with_file_name(format!(".{}.{}.tmp", name.display(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
        Ok(Self { file, temporary, place: place.to_owned() })
    }
}

impl Archive {
    /// One that will be at `place`, with everything in one folder; without a place on standard output.
    pub(super) fn new(place: Option<&Path>, folder: &str) -> io::Result<Self> {
        let draft = place.map(Draft::new).transpose()?;
        let out: Box<dyn Write> = match &draft {
            Some(draft) => Box::new(draft.file.try_clone()?),
            None => Box::new(io::stdout()),
        };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            builder: Builder::new(GzEncoder::new(out, Compression::default())),
            folder: folder.to_owned(),
            now: since.as_secs(),
            draft,
        })
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, content: &str) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(MODE);
        header.set_mtime(self.now);
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, format!("{}/{name}", self.folder), content.as_bytes())
    }

    /// Puts it in its place.
    pub(super) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.finish()?.flush()?;
        let Some(draft) = self.draft else { return Ok(()) };
        draft.file.sync_all()?;
        fs::rename(&draft.temporary, &draft.place)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_is_whole_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x.tar.gz");
        let mut archive = Archive::new(Some(&place), "bundle").unwrap();
        let long = format!("{}/b.yaml", "n".repeat(120));
        archive.add("a.txt", "one\n").unwrap();
        archive.add(&long, "two\n").unwrap();
        assert!(!place.exists(), "not before it is whole");
        archive.finish().unwrap();
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, MODE);
        let mut read = tar::Archive::new(GzDecoder::new(File::open(&place).unwrap()));
        let entries = read.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        let expected = [("bundle/a.txt".to_owned(), "one\n"), (format!("bundle/{long}"), "two\n")];
        let expected: Vec<(String, String)> = expected.map(|(path, text)| (path, text.to_owned())).to_vec();
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = Archive::new(Some(&dir.path().join("x.tar.gz")), "bundle").unwrap();
        archive.add("a.txt", "one\n").unwrap();
        drop(archive);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for place in [dir.path().join("missing/x.tar.gz"), dir.path().to_owned()] {
            assert!(Archive::new(Some(&place), "bundle").is_err(), "before anything is collected");
        }
    }
}
