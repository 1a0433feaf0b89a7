//! The data plane in the kernel: pinned maps, pinned links, and the programs between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use lb_common::abi;
use lb_core::burst::Asked;
use lb_core::ids::LinkId;
use lb_core::plan::{Changes, Entry, Target};

use super::{Attachment, Audit, Dataplane, DataplaneError, LinkFacts, ModeChoice, Reflection};

mod attach;
mod attached;
mod batch;
mod counts;
mod digest;
mod earlier;
mod events;
#[cfg(feature = "frame-log")]
mod frame_log;
mod object;
mod opened;
mod pins;
mod raw_link;
mod reflection;
mod slots;
mod table;
mod view;

pub use attached::{Pinned, Program, pinned, tcx_programs};
pub use counts::{CounterMaps, Counts, Requester, counters_bytes};
pub use events::{Event, Events, Kind};
pub use object::{TCX, XDP_FRAGS, XDP_PLAIN, is_embedded, kernel_has_tcx};
pub use pins::{Pins, check_bpffs};
pub use slots::REST_NS;
pub use table::{Row, Rows, Table};
pub use view::{View, kernel_memory};

use digest::{Digest, Scan};
use opened::{agent_map, hash_map, typed};
use reflection::ReflectionMaps;
use slots::Slots;

/// Rows with a slot, and targets for which there was none.
type Placed = (Vec<(Target, Row)>, Vec<Target>);

/// How the kernel side is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Size of the maps.
    pub max_vips: u32,
    /// `--xdp-mode`.
    pub mode: ModeChoice,
}

/// The real data plane.
pub struct KernelDataplane {
    ebpf: Ebpf,
    pins: Pins,
    settings: Settings,
    table: Table,
    counters: CounterMaps,
    reflection: ReflectionMaps,
    agent: Array<MapData, abi::Agent>,
    flags: u32,
    slots: Slots,
    /// What the table held when it was last read or written.
    rows: BTreeMap<Target, Row>,
    digest: Digest,
    scan: Scan,
    /// The maps are new and no link runs programs over them yet.
    staged: bool,
    /// Nothing has been attached by this process yet.
    fresh: bool,
    attached: BTreeMap<LinkId, (LinkFacts, Attachment)>,
    /// Ids of our programs in the kernel.
    programs: BTreeSet<u32>,
}

impl KernelDataplane {
    /// Opens the pinned maps, or makes new ones. Nothing that answers now changes by it.
    pub fn open(bpffs: &Path, settings: Settings) -> Result<Self, DataplaneError> {
        let pins = Pins::new(bpffs);
        pins.create()?;
        pins.recover()?;
        let live = pins.live();
        // Maps of another size or version, or none: made beside what is there, which goes on answering.
        let staged = !pins::is_complete(&pins.maps(), settings.max_vips)
            || live.as_ref().is_some_and(|set| *set != pins.maps());
        let dir = if staged { pins.staging() } else { pins.maps() };
        if staged {
            pins::remove_set(&dir)?;
        }
        std::fs::create_dir_all(&dir).map_err(pins::failed("create", &dir))?;
        let mut ebpf = object::load(&dir, settings.max_vips)?;
        let table = Table::new(hash_map(&mut ebpf, abi::VIPS_V4)?, hash_map(&mut ebpf, abi::VIPS_V6)?);
        let counters = CounterMaps::new(typed(&mut ebpf, abi::COUNTERS)?, typed(&mut ebpf, abi::OUTCOMES)?);
        let reflection =
            ReflectionMaps::new(hash_map(&mut ebpf, abi::REFLECTORS)?, hash_map(&mut ebpf, abi::MEMBERS)?);
        let agent: Array<MapData, abi::Agent> = typed(&mut ebpf, abi::AGENT)?;
        let programs = object::program_ids(&mut ebpf)?;
        let mut dataplane = Self {
            ebpf,
            pins,
            settings,
            table,
            counters,
            reflection,
            agent,
            flags: 0,
            slots: Slots::new(settings.max_vips, &BTreeSet::new()),
            rows: BTreeMap::new(),
            digest: Digest::default(),
            scan: Scan::default(),
            staged,
            fresh: true,
            attached: BTreeMap::new(),
            programs,
        };
        if staged {
            dataplane.carry_over(live)?;
        }
        dataplane.reread()?;
        Ok(dataplane)
    }

    /// The ring buffer of events. There is one consumer: call it once.
    pub fn take_events(&mut self) -> Result<Events, DataplaneError> {
        Ok(Events::new(typed::<RingBuf<MapData>>(&mut self.ebpf, abi::EVENTS)?))
    }

    /// Counters and outcomes.
    pub fn counters(&self) -> &CounterMaps {
        &self.counters
    }

    /// The same maps, for somebody who reads them beside whoever has the data plane.
    pub fn view(&self) -> Result<View, DataplaneError> {
        View::again(&self.table, &self.counters, &self.reflection, (&self.agent, self.settings.max_vips))
    }

    /// Rows as last read or written.
    pub fn rows(&self) -> &BTreeMap<Target, Row> {
        &self.rows
    }

    /// Switches sampled requests on or off, from the next [`Dataplane::set_valid_until`] on.
    pub fn set_trace(&mut self, on: bool) {
        self.flags = if on { abi::AGENT_TRACE } else { 0 };
    }

    /// Writes the outcome of each frame to the log from now on. Only in a build for it.
    pub fn start_frame_log(&mut self) -> Result<(), DataplaneError> {
        #[cfg(feature = "frame-log")]
        frame_log::start(&mut self.ebpf)?;
        Ok(())
    }

    /// Folders and files.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Detaches from every link and removes all pins.
    pub fn withdraw(&mut self) -> Result<(), DataplaneError> {
        self.attached.clear();
        self.pins.remove_all()
    }

    /// Every link is attached to as it was said to be: its pin is there, it has not been detached by force, and it
    /// runs our program. If not, the next [`Dataplane::attach`] repairs it.
    pub fn is_attached(&self) -> bool {
        let mut said = self.attached.iter().filter(|(_, (_, said))| said.mode.is_some());
        said.all(|(link, _)| self.runs_ours(*link))
    }

    fn runs_ours(&self, link: LinkId) -> bool {
        let info = self.pins.link_info(link);
        info.is_some_and(|info| info.ifindex == link.0 && self.programs.contains(&info.program))
    }

    /// What the agent last said.
    fn said(&self) -> Result<abi::Agent, DataplaneError> {
        self.agent.get(&0, 0).map_err(agent_map)
    }

    /// Fills new maps from those that answer now, of another size or version: they answer the same when the links are
    /// switched to them.
    fn carry_over(&mut self, live: Option<PathBuf>) -> Result<(), DataplaneError> {
        let newest = || {
            let mut sets = self.pins.sets().into_iter().filter(|set| *set != self.pins.staging()).rev();
            Some(self.pins.maps()).filter(|maps| maps.exists()).or_else(|| sets.next())
        };
        let Some(set) = live.or_else(newest) else { return Ok(()) };
        let earlier = match earlier::read(&set) {
            Ok(earlier) => earlier,
            Err(error) => {
                tracing::warn!(%error, path = %set.display(), "can't read the maps before; starting with empty ones");
                return Ok(());
            }
        };
        let slots = 0..self.settings.max_vips;
        let mut moved = BTreeMap::new();
        let mut rows = Vec::new();
        for (slot, (target, row)) in slots.zip(&earlier.rows) {
            moved.insert(row.slot, slot);
            rows.push((*target, Row { slot, ..*row }));
        }
        if let Some(counters) = &earlier.counters {
            self.counters.copy_from(counters, &moved);
        }
        tracing::info!(path = %set.display(), entries = rows.len(), of = earlier.rows.len(), "taking over from other maps");
        self.table.write(&rows)?;
        self.reflection.write(&earlier.reflection)?;
        self.set_epoch(earlier.epoch)?;
        self.set_valid_until(earlier.valid_until)
    }

    /// Reads the table, and repairs what can't be left as it is.
    fn reread(&mut self) -> Result<(), DataplaneError> {
        let mut read = self.table.read()?;
        if !read.odd_v4.is_empty() || !read.odd_v6.is_empty() {
            tracing::warn!(
                v4 = read.odd_v4.len(),
                v6 = read.odd_v6.len(),
                "removing map entries that make no sense"
            );
            self.table.remove_keys(&read.odd_v4, &read.odd_v6)?;
            read = self.table.read()?;
        }
        let settled = self.slots.settle(&mut read.rows, &self.rows);
        if settled != slots::Settled::default() {
            tracing::warn!(
                changed = settled.changed.len(),
                removed = settled.homeless.len(),
                "giving map entries slots of their own"
            );
            self.counters.clear(&settled.fresh)?;
            self.table.write(&settled.changed)?;
            self.table.remove(&settled.homeless)?;
            read.digest = self.table.digest()?;
        }
        self.rows = read.rows;
        self.digest = read.digest;
        self.scan.restart();
        Ok(())
    }

    /// Gives each new target a slot, zeroed; targets without one are returned.
    fn place(&mut self, changes: &Changes, now_ns: u64) -> Result<Placed, DataplaneError> {
        let (mut rows, mut new, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (target, entry) in &changes.upsert {
            let slot = match self.rows.get(target) {
                Some(row) => Some(row.slot),
                None => self.slots.take(now_ns).inspect(|slot| new.push(*slot)),
            };
            match slot {
                Some(slot) => rows.push((*target, Row { entry: *entry, slot })),
                None => left_out.push(*target),
            }
        }
        self.counters.clear(&new)?;
        Ok((rows, left_out))
    }

    /// Pins the programs beside the maps, so that a later agent can tell which set is live.
    fn pin_programs(&mut self) -> Result<(), DataplaneError> {
        let dir = if self.staged { self.pins.staging() } else { self.pins.maps() };
        for name in pins::PROGRAMS {
            let path = dir.join(name);
            drop(std::fs::remove_file(&path));
            let result = match name {
                "prog_tcx" if !kernel_has_tcx() => continue,
                "prog_tcx" => object::tcx(&mut self.ebpf)?.pin(&path),
                _ => object::xdp(&mut self.ebpf)?.pin(&path),
            };
            result.map_err(|error| pins::failed("pin a program to", &path)(pins::refusal(error)))?;
        }
        Ok(())
    }

    /// Ends what a start began: the links run our programs now, so other sets of maps can go.
    fn settle(&mut self) -> Result<(), DataplaneError> {
        if self.staged {
            self.pins.promote()?;
            self.staged = false;
        }
        self.pins.remove_other_versions()
    }

    fn attach_one(&mut self, link: LinkId, facts: &LinkFacts) -> Attachment {
        if let Some((known, attachment)) = self.attached.get(&link)
            && attachment.mode.is_some()
            && same_but_programs(known, facts)
            && self.runs_ours(link)
        {
            return attachment.clone();
        }
        let (ebpf, pins, choice) = (&mut self.ebpf, &self.pins, self.settings.mode);
        let attachment = attach::Attach { ebpf, pins, choice, link, facts }.run();
        if attachment.mode.is_some() {
            tracing::info!(%attachment, "attached");
        } else if self.attached.get(&link).is_none_or(|(_, before)| *before != attachment) {
            tracing::error!(%attachment, "can't attach");
        }
        self.attached.insert(link, (facts.clone(), attachment.clone()));
        attachment
    }
}

/// Facts that decide the mode are the same. Which programs are attached changes by our own doing.
fn same_but_programs(a: &LinkFacts, b: &LinkFacts) -> bool {
    (&a.name, &a.driver, a.strips_tags, a.loses_native) == (&b.name, &b.driver, b.strips_tags, b.loses_native)
}

impl Dataplane for KernelDataplane {
    fn actual(&mut self) -> Result<BTreeMap<Target, Entry>, DataplaneError> {
        if self.table.digest()? != self.digest {
            self.reread()?;
        }
        Ok(self.rows.iter().map(|(target, row)| (*target, row.entry)).collect())
    }

    fn is_untouched(&mut self) -> Result<bool, DataplaneError> {
        Ok(self.table.digest()? == self.digest)
    }

    fn audit(&mut self) -> Result<Audit, DataplaneError> {
        self.table.audit(&mut self.scan, &self.digest)
    }

    fn apply(&mut self, changes: &Changes, now_ns: u64) -> Result<Vec<Target>, DataplaneError> {
        self.table.remove(&changes.remove)?;
        for target in &changes.remove {
            if let Some(row) = self.rows.remove(target) {
                self.slots.release(row.slot, now_ns);
            }
        }
        let (rows, left_out) = self.place(changes, now_ns)?;
        self.table.write(&rows)?;
        self.rows.extend(rows);
        if !changes.is_empty() {
            self.digest = self.table.digest()?;
            self.scan.restart();
        }
        Ok(left_out)
    }

    fn asked(&mut self, targets: &BTreeSet<Target>) -> Result<BTreeMap<Target, Asked>, DataplaneError> {
        self.counters.asked(&self.rows, targets)
    }

    fn valid_until(&mut self) -> Result<u64, DataplaneError> {
        Ok(self.said()?.valid_until_ns)
    }

    fn set_valid_until(&mut self, boot_ns: u64) -> Result<(), DataplaneError> {
        let agent = abi::Agent { valid_until_ns: boot_ns, flags: self.flags, ..self.said()? };
        self.agent.set(0, agent, 0).map_err(agent_map)
    }

    fn epoch(&mut self) -> Result<u32, DataplaneError> {
        Ok(self.said()?.epoch)
    }

    fn set_epoch(&mut self, epoch: u32) -> Result<(), DataplaneError> {
        let agent = abi::Agent { epoch, ..self.said()? };
        self.agent.set(0, agent, 0).map_err(agent_map)
    }

    fn reflect(&mut self, reflection: &Reflection) -> Result<(), DataplaneError> {
        self.reflection.write(reflection)
    }

    fn attach(&mut self, links: &BTreeMap<LinkId, LinkFacts>) -> BTreeMap<LinkId, Attachment> {
        if self.fresh
            && let Err(error) = self.pin_programs()
        {
            tracing::warn!(%error, "can't pin the programs");
        }
        let result = links.iter().map(|(link, facts)| (*link, self.attach_one(*link, facts))).collect();
        self.attached.retain(|link, _| links.contains_key(link));
        for link in self.pins.links().into_iter().filter(|link| !links.contains_key(link)) {
            if let Err(error) = self.pins.remove_link(link) {
                tracing::warn!(%error, link = link.0, "can't detach");
            }
        }
        if self.fresh {
            match self.settle() {
                Ok(()) => self.fresh = false,
                Err(error) => tracing::warn!(%error, "can't remove the maps of an agent before"),
            }
        }
        result
    }
}
