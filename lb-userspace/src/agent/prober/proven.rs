//! Which nodes have ever replied on which link: of those alone silence tells something. Kept over restarts and reboots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lb_core::ids::NodeName;

use crate::source::replace::replace;

/// Below the state directory.
const FILE: &str = "peers.json";

/// See the module.
pub(super) struct Proven {
    path: PathBuf,
    known: BTreeSet<(String, String)>,
    changed: bool,
}

impl Proven {
    /// What was known before; nothing, where that can't be read.
    pub(super) fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, known: known.unwrap_or_default(), changed: false }
    }

    pub(super) fn is(&self, node: &NodeName, link: &str) -> bool {
        self.known.contains(&(node.to_string(), link.to_owned()))
    }

    pub(super) fn note(&mut self, node: &NodeName, link: &str) {
        if !self.is(node, link) {
            self.changed |= self.known.insert((node.to_string(), link.to_owned()));
        }
    }

    /// Writes what is new. A failure is tried again with the next news; until then a restart knows less.
    pub(super) fn save(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let Ok(bytes) = serde_json::to_vec(&self.known) else { return };
        if let Err(error) = replace(&self.path, &bytes) {
            tracing::debug!(%error, path = %self.path.display(), "can't save which nodes have replied");
        }
    }
}
