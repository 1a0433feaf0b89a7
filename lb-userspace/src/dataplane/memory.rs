//! A data plane in memory, with the semantics of the real one: limited slots that rest when they are given back, a
//! deadline, a table that somebody else may change, links that can't be attached to. For tests of the agent, and for the contract test both must pass.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi;
use lb_core::burst::Asked;
use lb_core::ids::LinkId;
use lb_core::plan::{self, Changes, Entry, EntryState, Target};

use super::ebpf::REST_NS;
use super::reflection::room;
use super::{Attachment, Dataplane, DataplaneError, LinkFacts, Mode, Reflection, Refusal};

/// The table, open to inspection and to interference.
#[derive(Debug, Default)]
pub struct Memory {
    /// Entries, as the kernel's map would hold them.
    pub table: BTreeMap<Target, Entry>,
    /// Slots there are.
    pub capacity: usize,
    /// Links attached to.
    pub attached: BTreeMap<LinkId, String>,
    /// Links that refuse every program.
    pub refusing: BTreeSet<LinkId>,
    /// Who asked last.
    pub asked: BTreeMap<Target, Asked>,
    /// What is reflected.
    pub reflection: Reflection,
    /// Until when slots that were given back rest.
    resting: Vec<u64>,
    valid_until: u64,
    epoch: u32,
    seen: BTreeMap<Target, Entry>,
}

impl Memory {
    /// Room for `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// The hardware address that would be answered for `target` at `now_ns`.
    pub fn answer(&self, target: &Target, now_ns: u64) -> Option<lb_core::ids::Mac> {
        let entry = self.table.get(target)?;
        let live = self.attached.contains_key(&target.link) && now_ns < self.valid_until;
        (live && entry.state == EntryState::Answer).then_some(entry.mac)
    }
}

impl Dataplane for Memory {
    fn actual(&mut self) -> Result<BTreeMap<Target, Entry>, DataplaneError> {
        self.seen.clone_from(&self.table);
        Ok(self.table.clone())
    }

    fn is_untouched(&mut self) -> Result<bool, DataplaneError> {
        Ok(self.seen == self.table)
    }

    fn apply(&mut self, changes: &Changes, now_ns: u64) -> Result<Vec<Target>, DataplaneError> {
        let mut fitting = changes.clone();
        let removed = changes.remove.iter().filter(|target| self.table.contains_key(target)).count();
        self.resting.retain(|until| *until > now_ns);
        self.resting.extend(std::iter::repeat_n(now_ns.saturating_add(REST_NS), removed));
        let used = self.table.len() - removed + self.resting.len();
        let mut room = self.capacity.saturating_sub(used);
        let mut left_out = Vec::new();
        fitting.upsert.retain(|(target, _)| {
            if self.table.contains_key(target) {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            if !fits {
                left_out.push(*target);
            }
            fits
        });
        plan::apply(&fitting, &mut self.table);
        self.seen.clone_from(&self.table);
        Ok(left_out)
    }

    fn asked(&mut self, targets: &BTreeSet<Target>) -> Result<BTreeMap<Target, Asked>, DataplaneError> {
        let asked = self.asked.iter().filter(|(target, _)| targets.contains(target));
        Ok(asked.map(|(target, asked)| (*target, *asked)).collect())
    }

    fn valid_until(&mut self) -> Result<u64, DataplaneError> {
        Ok(self.valid_until)
    }

    fn set_valid_until(&mut self, boot_ns: u64) -> Result<(), DataplaneError> {
        self.valid_until = boot_ns;
        Ok(())
    }

    fn epoch(&mut self) -> Result<u32, DataplaneError> {
        Ok(self.epoch)
    }

    fn set_epoch(&mut self, epoch: u32) -> Result<(), DataplaneError> {
        self.epoch = epoch;
        Ok(())
    }

    fn reflect(&mut self, reflection: &Reflection) -> Result<(), DataplaneError> {
        let (own, members) = (abi::MAX_REFLECTORS as usize, abi::MAX_MEMBERS as usize);
        self.reflection = Reflection {
            own: reflection.own.iter().take(own).map(|(at, said)| (*at, *said)).collect(),
            members: reflection.members.iter().take(members).map(|(at, mac)| (*at, *mac)).collect(),
        };
        room(abi::REFLECTORS, reflection.own.len(), own)?;
        room(abi::MEMBERS, reflection.members.len(), members)
    }

    fn attach(&mut self, links: &BTreeMap<LinkId, LinkFacts>) -> BTreeMap<LinkId, Attachment> {
        let willing = links.iter().filter(|(id, _)| !self.refusing.contains(id));
        self.attached = willing.map(|(id, link)| (*id, link.name.clone())).collect();
        let refusal = || Refusal { mode: Mode::Native, reason: "it refuses".to_owned() };
        let attachment = |id: &LinkId, link: &LinkFacts| match self.attached.get(id) {
            Some(name) => Attachment { name: name.clone(), mode: Some(Mode::Native), refused: Vec::new() },
            None => Attachment { name: link.name.clone(), mode: None, refused: vec![refusal()] },
        };
        links.iter().map(|(id, link)| (*id, attachment(id, link))).collect()
    }
}
