//! What is in force of each object, and where it is written.
//!
//! ```text
//! what the files say now ─┐
//!                         ├─ choose ──> one choice per object ── judged ──> what is in force now
//! what was in force ──────┘                                                     │
//!         └────────────────────────── kept, also over a restart ────────────────┘
//! ```
//!
//! The rules are the same for every kind of object and every kind of error:
//!
//! * An object goes on as it was in force while what is written of it has an error, and while it may be in a part of
//!   its file that can't be read.
//! * An object that is written twice is the one that was in force; the newcomer is told.
//! * An object ends when its file, which can be read, no longer has it; or when the file is deleted.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use lb_core::{
    config::in_force::Piece,
    problem::{Effect, Place},
};

use super::{
    files::{Content, Files, Object, ObjectId, Reading},
    problem::{FileError, ObjectError, Problem},
};

#[cfg(test)]
mod tests;

/// The form of an object that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The file that has the object.
    pub(super) file: Arc<str>,
    /// The document in that file.
    pub(super) document: u32,
    /// What it says.
    pub(super) content: Content,
}

/// Everything in force.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    held: Arc<BTreeMap<ObjectId, Held>>,
}

/// Which of the places that have an object counts, and what it says there.
#[derive(Debug)]
pub(super) struct Choice {
    /// The file that has the object.
    pub(super) file: Arc<str>,
    /// The document in that file.
    pub(super) document: u32,
    /// What is written; `None`: it can't be read.
    pub(super) written: Option<Content>,
    /// What was in force before.
    pub(super) former: Option<Content>,
    /// Why it can't be read.
    pub(super) problems: Vec<Problem>,
    /// It is not seen in its file, and may be in a part that can't be read.
    unseen: bool,
}

/// All choices.
#[derive(Debug, Default)]
pub(super) struct Choices {
    /// One for each object.
    pub(super) objects: BTreeMap<ObjectId, Choice>,
    /// What is wrong with files, and objects that are written twice.
    pub(super) problems: Vec<Problem>,
    /// Nothing can be missing only because it can't be read: every file has been read in whole at some time.
    pub(super) complete: bool,
}

impl InForce {
    /// As it was remembered.
    pub(super) fn new(held: BTreeMap<ObjectId, Held>) -> Self {
        Self { held: Arc::new(held) }
    }

    /// Whether nothing is in force.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Every object in force.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&ObjectId, &Held)> {
        self.held.iter()
    }

    /// What is in force of an object.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Held> {
        self.held.get(id)
    }

    /// Files whose objects in force differ.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<Arc<str>> {
        let mut files = BTreeSet::new();
        for (one, another) in [(self, other), (other, self)] {
            let changed = one.held.iter().filter(|(id, held)| another.held.get(*id) != Some(*held));
            files.extend(changed.map(|(_, held)| Arc::clone(&held.file)));
        }
        files
    }

    /// Looks for every object in the files, and where it was before.
    pub(super) fn choose(&self, files: &Files) -> Choices {
        let mut choices = Choices { complete: files.unreadable().is_none(), ..Choices::default() };
        choices.problems.extend(files.unreadable().cloned());
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        let mut has_objects: BTreeSet<&str> = BTreeSet::new();
        let seen = seen_in_hiding_files(files, self);
        for (id, held) in self.held.iter() {
            has_objects.insert(&held.file);
            let unseen = match files.reading(&held.file) {
                None => files.unreadable().is_some(),
                Some(reading) => (reading.hides || reading.empty) && !seen.contains(&(&*held.file, id)),
            };
            if unseen {
                kept.insert(&held.file);
                let (file, former) = (Arc::clone(&held.file), Some(held.content.clone()));
                let choice = Choice {
                    file,
                    document: held.document,
                    written: None,
                    former,
                    problems: Vec::new(),
                    unseen: true,
                };
                choices.objects.insert(id.clone(), choice);
            }
        }
        let mut twice = Vec::new();
        for (file, reading) in files.readings() {
            let fresh = reading.hides && !has_objects.contains(&**file);
            choices.complete &= !fresh;
            choices.problems.extend(problems_of(file, reading, kept.contains(&**file)));
            for object in &reading.objects {
                twice.extend(self.consider(&mut choices.objects, file, object));
            }
        }
        for (id, file, document) in twice {
            let Some(first) = choices.objects.get(&id) else { continue };
            let error = ObjectError::Duplicate { first: at(&first.file, first.document) };
            choices
                .problems
                .push(Problem::new(Place { object: id.to_string(), ..at(&file, document) }, error));
        }
        choices
    }

    /// Enters a place of an object unless another one counts more. Returns the place that does not count.
    fn consider(
        &self,
        chosen: &mut BTreeMap<ObjectId, Choice>,
        file: &Arc<str>,
        object: &Object,
    ) -> Option<(ObjectId, Arc<str>, u32)> {
        let held = self.held.get(&object.id);
        let (written, problems) = match &object.content {
            Ok(content) => (Some(content.clone()), Vec::new()),
            Err(problems) => (None, problems.clone()),
        };
        let new = Choice {
            file: Arc::clone(file),
            document: object.document,
            written,
            former: held.map(|held| held.content.clone()),
            problems,
            unseen: false,
        };
        match chosen.entry(object.id.clone()) {
            Entry::Vacant(free) => {
                free.insert(new);
                None
            }
            Entry::Occupied(mut taken) => {
                let other = taken.get();
                let loser = if !other.unseen && rank(&new, held) > rank(other, held) {
                    taken.insert(new)
                } else {
                    new
                };
                Some((object.id.clone(), loser.file, loser.document))
            }
        }
    }
}

/// How much a place of an object counts: where it was in force counts more than elsewhere.
fn rank(choice: &Choice, held: Option<&Held>) -> (bool, bool, bool) {
    match held.filter(|held| held.file == choice.file) {
        Some(held) => {
            (true, choice.written.as_ref() == Some(&held.content), choice.document == held.document)
        }
        None => (false, choice.written.is_some(), false),
    }
}

/// Objects that are seen in files of which not everything is.
fn seen_in_hiding_files<'a>(files: &'a Files, in_force: &InForce) -> BTreeSet<(&'a str, &'a ObjectId)> {
    let hiding = files.readings().filter(|(_, reading)| reading.hides && !in_force.is_empty());
    hiding
        .flat_map(|(file, reading)| reading.objects.iter().map(move |object| (&**file, &object.id)))
        .collect()
}

/// What is wrong with a file besides its objects. `kept`: objects of it stay in force unseen.
fn problems_of(file: &Arc<str>, reading: &Reading, kept: bool) -> Vec<Problem> {
    let effect = if kept { Effect::LastGood } else { Effect::LeftOut };
    let emptied = (reading.empty && kept).then(|| {
        let place = Place { file: Some(file.as_ref().to_owned()), ..Place::default() };
        Problem::new(place, FileError::Emptied)
    });
    let others = reading.problems.iter().map(|problem| problem.clone().with_effect(effect));
    others.chain(emptied).collect()
}

/// A document of a file.
pub(super) fn at(file: &str, document: u32) -> Place {
    Place { file: Some(file.to_owned()), document: Some(document), ..Place::default() }
}

impl Choice {
    /// The choice with this form in force.
    pub(super) fn into_held(self, content: Content) -> Held {
        Held { file: self.file, document: self.document, content }
    }

    /// Why what is written can't be read, with what that means.
    pub(super) fn told(&self) -> impl Iterator<Item = Problem> {
        let effect = if self.former.is_some() { Effect::LastGood } else { Effect::LeftOut };
        self.problems.iter().map(move |problem| problem.clone().with_effect(effect))
    }
}

impl Content {
    /// The part of the configuration that it is, if it is one.
    pub(super) fn piece(&self) -> Option<Piece> {
        match self {
            Self::Pool(pool) => Some(Piece::Pool(Arc::clone(pool))),
            Self::Advertisement(ad) => Some(Piece::Advertisement(Arc::clone(ad))),
            Self::Legacy(legacy) => Some(Piece::Legacy(Arc::clone(legacy))),
            Self::Service(_) | Self::Node(..) | Self::Endpoints(..) | Self::Namespace(_) => None,
        }
    }
}
