//! The secret that the agents of a cluster have in common, as files: the entries of the Secret `memberlist`, which the
//! kubelet puts into the pod and renews there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lb_core::failover::seal::{Key, Keyring, ShortSecret};

/// File with the secret that is used.
pub const CURRENT: &str = "secretkey";
/// File with another one that is accepted, while the secret is changed.
pub const PREVIOUS: &str = "secretkey-previous";

/// Why the files make no keys.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file, or the folder, can't be read.
    #[error("{} can't be read: look at its owner and mode, and at the pod's volumes", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A secret is too short to be one.
    #[error("{} is no secret: put 128 random bytes in Base64 there (docs/operations.md)", path.display())]
    Short {
        /// Which one.
        path: PathBuf,
        /// How short.
        #[source]
        source: ShortSecret,
    },
    /// There is the secret for a change, and none to use.
    #[error("{} is there without {CURRENT}: give the Secret both entries (docs/operations.md)", path.display())]
    NoCurrent {
        /// The file that is there.
        path: PathBuf,
    },
}

/// What the files say.
#[derive(Debug)]
pub enum Keys {
    /// The same as before.
    Unchanged,
    /// There is no secret, any more or yet.
    Missing,
    /// These keys.
    Of(Box<Keyring>),
}

/// Trimmed contents of both files, where they are.
type Contents = [Option<Vec<u8>>; 2];

/// The folder with the files.
pub struct SecretDir {
    path: PathBuf,
    /// What the last answer was made of.
    known: Option<Contents>,
}

impl std::fmt::Debug for SecretDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretDir").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SecretDir {
    /// This folder; it need not exist. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), known: None }
    }

    /// Reads the files. The first answer is never [`Keys::Unchanged`]; after an error, which changes nothing, the next one
    /// is compared with the last that was none.
    ///
    /// The kubelet exchanges both files at once, and they may be read one before and one after that. The next call sees it.
    pub fn poll(&mut self) -> Result<Keys, SecretError> {
        let paths = [CURRENT, PREVIOUS].map(|name| self.path.join(name));
        let [current, previous] = &paths;
        let contents = [read(current)?, read(previous)?];
        if self.known.as_ref() == Some(&contents) {
            return Ok(Keys::Unchanged);
        }
        let keys = match &contents {
            [None, None] => Keys::Missing,
            [None, Some(_)] => return Err(SecretError::NoCurrent { path: previous.clone() }),
            [Some(secret), other] => Keys::Of(Box::new(Keyring {
                current: key(secret, current)?,
                previous: other.as_ref().map(|secret| key(secret, previous)).transpose()?,
            })),
        };
        self.known = Some(contents);
        Ok(keys)
    }
}

/// The content, without the line end that editors and shells leave. `None`: there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.trim_ascii_end().to_vec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretError::Unreadable { path: path.to_owned(), source }),
    }
}

fn key(secret: &[u8], path: &Path) -> Result<Key, SecretError> {
    Key::new(secret).map_err(|source| SecretError::Short { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ONE: &str = "one secret of 25 letters.";
    const OTHER: &str = "another one, long enough.";

    fn poll(dir: &mut SecretDir) -> String {
        match dir.poll() {
            Ok(Keys::Unchanged) => "unchanged".to_owned(),
            Ok(Keys::Missing) => "missing".to_owned(),
            Ok(Keys::Of(keys)) => if keys.previous.is_none() { "one" } else { "two" }.to_owned(),
            Err(error) => error.to_string().replace(dir.path.to_str().unwrap(), "DIR"),
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memberlist");
        let mut dir = SecretDir::new(&path);
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["missing", "unchanged"]);
        fs::create_dir(&path).unwrap();
        assert_eq!(poll(&mut dir), "unchanged");
        fs::write(path.join(CURRENT), ONE).unwrap();
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["one", "unchanged"]);
        fs::write(path.join(CURRENT), format!("{ONE}\n")).unwrap();
        assert_eq!(poll(&mut dir), "unchanged");
        fs::write(path.join(PREVIOUS), OTHER).unwrap();
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["two", "unchanged"]);
        fs::write(path.join(CURRENT), OTHER).unwrap();
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["two", "unchanged"]);
        fs::remove_dir_all(&path).unwrap();
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["missing", "unchanged"]);
    }

    #[test]
    fn what_makes_no_key_is_an_error_that_names_the_file_and_keeps_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = SecretDir::new(folder.path());
        fs::write(folder.path().join(CURRENT), ONE).unwrap();
        assert_eq!(poll(&mut dir), "one");
        fs::write(folder.path().join(CURRENT), "short\n").unwrap();
        let short = "DIR/secretkey is no secret: put 128 random bytes in Base64 there (docs/operations.md)";
        assert_eq!([poll(&mut dir), poll(&mut dir)], [short, short]);
        fs::remove_file(folder.path().join(CURRENT)).unwrap();
        fs::write(folder.path().join(PREVIOUS), OTHER).unwrap();
        let alone = "DIR/secretkey-previous is there without secretkey: give the Secret both entries (docs/operations.md)";
        assert_eq!(poll(&mut dir), alone);
        fs::remove_file(folder.path().join(PREVIOUS)).unwrap();
        fs::create_dir(folder.path().join(CURRENT)).unwrap();
        assert!(poll(&mut dir).contains("DIR/secretkey can't be read"));
        fs::remove_dir(folder.path().join(CURRENT)).unwrap();
        fs::write(folder.path().join(CURRENT), ONE).unwrap();
        assert_eq!(poll(&mut dir), "unchanged");
    }

    /// As the kubelet does it: files are links through a link to a folder, and that link is exchanged.
    #[test]
    fn a_volume_that_is_renewed_is_never_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, secret) in [("..1", ONE), ("..2", OTHER)] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join(CURRENT), secret).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/secretkey", root.join(CURRENT)).unwrap();
        let mut dir = SecretDir::new(root);
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["one", "unchanged"]);
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!([poll(&mut dir), poll(&mut dir)], ["one", "unchanged"]);
    }
}
