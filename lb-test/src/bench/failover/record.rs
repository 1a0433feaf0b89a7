//! Trials as they were seen, one JSON object a line.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tell;
use crate::failover::{Case, Kind, Seen, Way, Ways};

/// One trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) system: String,
    pub(super) case: String,
    pub(super) ways: Ways,
}

impl Record {
    pub(super) fn new(kind: Kind, case: &Case, ways: Ways) -> Self {
        Self { system: kind.name().to_owned(), case: case.name.to_owned(), ways }
    }

    /// The first right answer of these ways, the later of them; milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of some minutes")]
    pub(super) fn first_ms(&self, ways: [Way; 2]) -> Option<f64> {
        let first = ways.map(|way| self.ways.get(&way)?.first_us);
        Some(first[0]?.max(first[1]?) as f64 / 1000.0)
    }

    /// When the owner's own table answered for nothing any more, where that was looked at; milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of some minutes")]
    pub(super) fn silent_ms(&self) -> Option<f64> {
        self.worst(|seen| seen.silent_us).map(|time| time as f64 / 1000.0)
    }

    /// Something of ARP and neighbour discovery, the larger of both.
    pub(super) fn worst<T: Ord + Default>(&self, of: impl Fn(&Seen) -> T) -> T {
        self.worst_by([Way::Arp, Way::Ns], of)
    }

    /// The same of these ways.
    pub(super) fn worst_by<T: Ord + Default>(&self, ways: [Way; 2], of: impl Fn(&Seen) -> T) -> T {
        ways.into_iter().filter_map(|way| self.ways.get(&way)).map(of).max().unwrap_or_default()
    }
}

/// The file of all trials.
pub(super) struct Records {
    path: PathBuf,
    all: Vec<Record>,
}

impl Records {
    /// Those that are saved there; none when there is no file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), all: read(path)? })
    }

    pub(super) fn all(&self) -> &[Record] {
        &self.all
    }

    /// Trials of a case in a system.
    pub(super) fn count(&self, kind: Kind, case: &Case) -> usize {
        let is_one = |one: &&Record| one.system == kind.name() && one.case == case.name;
        self.all.iter().filter(is_one).count()
    }

    /// Drops some.
    pub(super) fn forget(&mut self, which: impl Fn(&Record) -> bool) -> Result<()> {
        self.all.retain(|record| !which(record));
        let lines = self.all.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        make_folder(&self.path)?;
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Saves another one, and tells it.
    pub(super) fn add(&mut self, record: Record) -> Result<()> {
        append(&self.path, &record)?;
        let first =
            |ways| record.first_ms(ways).map_or_else(|| "none".to_owned(), |ms| format!("{ms:.1} ms"));
        tell(&format!(
            "{}, {}: first answer {}, datagram {}; {} unanswered, two owners {} us",
            record.system,
            record.case,
            first([Way::Arp, Way::Ns]),
            first([Way::Udp4, Way::Udp6]),
            record.worst(|seen| seen.unanswered),
            record.worst(|seen| seen.both_us),
        ));
        self.all.push(record);
        Ok(())
    }
}

/// The lines of a file; none when there is no file. The last one may have been cut off with the run that wrote it.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse =
        |line| serde_json::from_str(line).with_context(|| format!("{} holds {line:?}", path.display()));
    whole.lines().map(parse).collect()
}

/// Drops all that is saved there.
pub(super) fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Adds a line to a file, after a line that was cut off if there is one.
pub(super) fn append(path: &Path, value: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(value)? + "\n";
    make_folder(path)?;
    let context = || format!("cannot write {}", path.display());
    if let Ok(text) = fs::read_to_string(path)
        && !text.is_empty()
        && !text.ends_with('\n')
    {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        fs::write(path, whole).with_context(context)?;
    }
    let mut file = File::options().create(true).append(true).open(path).with_context(context)?;
    file.write_all(line.as_bytes()).with_context(context)
}

fn make_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::CASES;

    fn record(case: &Case, first_us: Option<u64>) -> Record {
        let seen = Seen { first_us, unanswered: 3, ..Seen::default() };
        Record::new(Kind::Keepalived, case, Ways::from([(Way::Arp, seen.clone()), (Way::Ns, seen)]))
    }

    #[test]
    fn a_run_that_was_cut_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/records.jsonl");
        let mut records = Records::open(&path).unwrap();
        records.add(record(&CASES[0], Some(1500))).unwrap();
        records.add(record(&CASES[1], None)).unwrap();
        // A third one was being written.
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"system\":\"keep").unwrap();
        drop(file);

        let mut records = Records::open(&path).unwrap();
        let counts = CASES.iter().map(|case| records.count(Kind::Keepalived, case));
        assert_eq!(counts.take(3).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(records.count(Kind::Barelb, &CASES[0]), 0);
        records.add(record(&CASES[2], Some(7))).unwrap();
        assert_eq!(Records::open(&path).unwrap().all(), records.all());

        records.forget(|record| record.case == CASES[0].name).unwrap();
        let left = Records::open(&path).unwrap();
        assert_eq!((left.all().len(), left.count(Kind::Keepalived, &CASES[0])), (2, 0));
    }

    #[test]
    fn the_later_family_counts() {
        let mut one = record(&CASES[0], Some(1500));
        assert_eq!(one.first_ms([Way::Arp, Way::Ns]), Some(1.5));
        one.ways.get_mut(&Way::Ns).unwrap().first_us = Some(2500);
        assert_eq!(one.first_ms([Way::Arp, Way::Ns]), Some(2.5));
        one.ways.get_mut(&Way::Arp).unwrap().first_us = None;
        assert_eq!(one.first_ms([Way::Arp, Way::Ns]), None);
        assert_eq!(one.worst(|seen| seen.unanswered), 3);
    }
}
