//! A port of a switch that loses frames, or all of them.

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::LinkOrder;
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::xdp::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::{load, rig_object};
use crate::bench::layout::Loss;
use crate::link::Interface;

// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for Loss {}

/// Every frame.
const ALL: u32 = 1000;

/// What a port lets through, each way by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both ways are concerned.
    Both,
    /// What comes from the node.
    FromNode,
    /// What goes to the node.
    ToNode,
}

/// A port of a switch that loses what it is told to; it loses nothing at first. Detached on drop.
///
/// It is an XDP program on the port itself, so native XDP on the node's end works too, and tcx egress for the other way.
pub struct LossyPort {
    loss: Array<MapData, Loss>,
    lost: PerCpuArray<MapData, u64>,
    probes: PerCpuArray<MapData, u64>,
    _object: Ebpf,
}

impl LossyPort {
    /// Attaches `rig_lose` and `rig_lose_tcx` to the end of a cable that is the switch's.
    pub fn attach(port: &Interface) -> Result<Self> {
        let mut object = load(&mut EbpfLoader::new(), &rig_object())?;
        let loss = Array::try_from(object.take_map("LOSS").context("no map LOSS in the object")?)?;
        let mut counts = |name: &str| {
            let map = object.take_map(name).with_context(|| format!("no map {name} in the object"))?;
            anyhow::Ok(PerCpuArray::try_from(map)?)
        };
        let (lost, probes) = (counts("LOST")?, counts("PROBES")?);
        let program = object.program_mut("rig_lose").context("no program rig_lose in the object")?;
        let from_node: &mut Xdp = program.try_into()?;
        from_node.load().context("the kernel refused rig_lose")?;
        let attached =
            port.namespace().enter(|| Ok(from_node.attach_to_if_index(port.index(), XdpMode::Driver)?));
        attached.with_context(|| format!("cannot attach rig_lose to {}", port.name()))?;
        let program = object.program_mut("rig_lose_tcx").context("no program rig_lose_tcx in the object")?;
        let to_node: &mut SchedClassifier = program.try_into()?;
        to_node.load().context("the kernel refused rig_lose_tcx")?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let attached = port
            .namespace()
            .enter(|| Ok(to_node.attach_with_options(port.name(), TcAttachType::Egress, options)?));
        attached.with_context(|| format!("cannot attach rig_lose_tcx to {}", port.name()))?;
        Ok(Self { loss, lost, probes, _object: object })
    }

    /// Lets nothing through any more. Takes effect with one write to a map: within microseconds, both ways at once.
    pub fn cut(&mut self, way: Way) -> Result<()> {
        self.lose(way, ALL)
    }

    /// Loses so many of a thousand frames on these ways, and none on the other.
    pub fn lose(&mut self, way: Way, per_mille: u32) -> Result<()> {
        let of = |concerned: bool| if concerned { per_mille } else { 0 };
        let loss = Loss { from_node: of(way != Way::ToNode), to_node: of(way != Way::FromNode) };
        self.loss.set(0, loss, 0).context("cannot say what the port loses")
    }

    /// Lets everything through.
    pub fn heal(&mut self) -> Result<()> {
        self.lose(Way::Both, 0)
    }

    /// Frames it has lost so far: from the node, and on the way to it.
    pub fn lost(&self) -> Result<[u64; 2]> {
        sums(&self.lost)
    }

    /// Requests of S-BFD so far, lost or not: from the node, and on the way to it.
    pub fn probes(&self) -> Result<[u64; 2]> {
        sums(&self.probes)
    }
}

/// Of all processors, each way.
fn sums(counts: &PerCpuArray<MapData, u64>) -> Result<[u64; 2]> {
    let sum = |way| anyhow::Ok(counts.get(&way, 0)?.iter().sum());
    Ok([sum(0)?, sum(1)?])
}
