//! Another checkout: a copy of the sources in a folder of another name. What is to be the same everywhere is built in both and
//! compared, so that nothing of a folder, a user or the hour gets into it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// What belongs to a checkout, not to the sources.
const LEFT_OUT: [&str; 2] = [".git", "target"];

/// The copy, which goes with this value.
pub(crate) struct Elsewhere {
    workspace: Workspace,
}

impl Elsewhere {
    /// Copies the sources. It lies below the target folder, because that has the room for what is built in it.
    pub(crate) fn new(workspace: &Workspace) -> Result<Self> {
        let root = workspace.target().join("elsewhere/another-checkout");
        remove(&root)?;
        let copy = Self { workspace: Workspace::at(root) };
        copy_folder(workspace.root(), copy.workspace.root())?;
        Ok(copy)
    }

    /// The checkout that the copy is.
    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Err(error) = remove(self.workspace.root()) {
            eprintln!("{error:#}: remove it by hand, it is large");
        }
    }
}

/// Fails at the first byte that is another one.
pub(crate) fn ensure_same(name: &str, here: &[u8], there: &[u8]) -> Result<()> {
    if here == there {
        return Ok(());
    }
    let common = here.iter().zip(there).take_while(|(one, other)| one == other).count();
    let around = |bytes: &[u8]| {
        let end = bytes.len().min(common + 48);
        String::from_utf8_lossy(&bytes[common.saturating_sub(32)..end]).escape_debug().to_string()
    };
    bail!(
        "{name} is not the same from another folder: {} bytes and {}, and the first difference is at byte {common}, \
         in \"{}\" and \"{}\". Whatever put it there must be told to leave it out, see xtask/src/remap.rs",
        here.len(),
        there.len(),
        around(here),
        around(there)
    )
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("can't copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(context)?;
    for entry in fs::read_dir(from).with_context(context)? {
        let entry = entry.with_context(context)?;
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (from, to): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            // A name, and nothing of its date.
            fs::copy(&from, &to).with_context(|| format!("can't copy {}", from.display()))?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_the_sources_and_goes_away() {
        let folder = std::env::temp_dir().join(format!("xtask-elsewhere-{}", std::process::id()));
        for (name, text) in
            [("Cargo.toml", "a"), ("lb-x/src/lib.rs", "b"), ("target/x.o", "c"), (".git/HEAD", "d")]
        {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let copy = Elsewhere::new(&Workspace::at(folder.clone())).unwrap();
        let root = copy.workspace().root().to_owned();
        assert!(root.starts_with(folder.join("target")));
        assert_eq!(fs::read_to_string(root.join("lb-x/src/lib.rs")).unwrap(), "b");
        let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        drop(copy);
        assert!(!root.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_difference_is_shown() {
        assert!(ensure_same("x.o", b"the same", b"the same").is_ok());
        let error = ensure_same("x.o", b"at /home/me/x", b"at /home/you/x").unwrap_err().to_string();
        assert!(error.contains("x.o") && error.contains("byte 9") && error.contains("/home/you"), "{error}");
        // One is the beginning of the other.
        assert!(ensure_same("x.o", b"ab", b"abc").unwrap_err().to_string().contains("2 bytes and 3"));
    }
}
