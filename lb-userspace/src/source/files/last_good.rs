//! What every file says, and what it said when it could last be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::object::{Object, ObjectId};

/// What came out of reading a file.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// Everything in it could be read.
    Whole(Vec<Object>),
    /// A part of it could be read.
    Part(Vec<Object>),
    /// Nothing could be read.
    Nothing,
}

/// The objects of all files that are in force, by file name.
///
/// A file that could be read says exactly what it says. One that could be read in part says that, and of its
/// former objects those that are missing now: they may be in the part that could not be read. One that could not
/// be read says what it said before. So an error in a file never removes an object; deleting the file, or
/// deleting the object from a file without errors, does.
#[derive(Debug, Clone, Default)]
pub(super) struct LastGoodFiles {
    files: BTreeMap<Arc<str>, Vec<Object>>,
}

impl LastGoodFiles {
    /// Takes note of a file.
    pub(super) fn settle(&mut self, file: &Arc<str>, reading: Reading) {
        let objects = match reading {
            Reading::Whole(objects) => objects,
            Reading::Part(mut objects) => {
                let former = self.files.remove(file).unwrap_or_default();
                let present: BTreeSet<ObjectId> = objects.iter().map(|object| object.id.clone()).collect();
                objects.extend(former.into_iter().filter(|old| !present.contains(&old.id)));
                objects
            }
            Reading::Nothing => return,
        };
        self.files.insert(Arc::clone(file), objects);
    }

    /// Forgets files that are gone.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.files.retain(|file, _| keep(file));
    }

    /// Whether a file has any objects in force.
    pub(super) fn has_objects(&self, file: &str) -> bool {
        self.files.get(file).is_some_and(|objects| !objects.is_empty())
    }

    /// All objects in force, in order of file name and place in the file.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Arc<str>, &Object)> {
        self.files.iter().flat_map(|(file, objects)| objects.iter().map(move |object| (file, object)))
    }
}
