//! The small BPF programs a test puts on its own end of a link (`lb-ebpf/src/rig.rs`).

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::programs::LinkOrder;
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::xdp::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use crate::link::{Interface, Offload};

pub use self::loss::{LossyPort, Way};

mod loss;

/// A program that passes every frame, attached natively.
///
/// Native XDP on a veth hands its answers (`XDP_TX`) to the other end, which only looks for them while it has an
/// XDP program itself (`veth_xdp_flush` in drivers/net/veth.c). Detached on drop.
#[derive(Debug)]
pub struct PassProgram {
    _object: Ebpf,
}

impl PassProgram {
    /// Attaches `rig_pass` of [`rig_object`].
    pub fn attach(interface: &Interface) -> Result<Self> {
        Self::attach_from(&rig_object(), interface)
    }

    /// Attaches `rig_pass` of [`rig_object`] in another mode.
    pub fn attach_in(interface: &Interface, mode: XdpMode) -> Result<Self> {
        Self::attach_object(&rig_object(), interface, mode)
    }

    /// Attaches `rig_pass` of the object file `object`.
    pub fn attach_from(object: &Path, interface: &Interface) -> Result<Self> {
        Self::attach_object(object, interface, XdpMode::Driver)
    }

    fn attach_object(object: &Path, interface: &Interface, mode: XdpMode) -> Result<Self> {
        let mut object = load(&mut EbpfLoader::new(), object)?;
        let program: &mut Xdp =
            object.program_mut("rig_pass").context("no program rig_pass in the object")?.try_into()?;
        program.load().context("the kernel refused rig_pass")?;
        let attached = interface
            .namespace()
            .enter(|| program.attach_to_if_index(interface.index(), mode).map_err(anyhow::Error::new));
        attached.with_context(|| format!("cannot attach rig_pass to {}", interface.name()))?;
        Ok(Self { _object: object })
    }
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub protocol: u16,
    /// Priority, drop eligible, VLAN id.
    pub tci: u16,
}

/// A tcx egress program that gives every frame a tag out of band, as the driver of a NIC hands over a frame
/// whose tag the hardware has taken out (V06). Detached on drop.
///
/// The VLAN offload of the sending end is switched on for it: otherwise the kernel would put the tag into the
/// frame before it leaves (`validate_xmit_vlan` in net/core/dev.c).
#[derive(Debug)]
pub struct PushVlan {
    _object: Ebpf,
}

impl PushVlan {
    /// Attaches `rig_push_vlan` of [`rig_object`] to what leaves `interface`.
    pub fn attach(interface: &Interface, tag: VlanTag) -> Result<Self> {
        interface.offload(Offload::TxVlan, true)?;
        let mut loader = EbpfLoader::new();
        loader.override_global("VLAN_TCI", &tag.tci, true).override_global("VLAN_PROTO", &tag.protocol, true);
        let mut object = load(&mut loader, &rig_object())?;
        let program =
            object.program_mut("rig_push_vlan").context("no program rig_push_vlan in the object")?;
        let program: &mut SchedClassifier = program.try_into()?;
        program.load().context("the kernel refused rig_push_vlan")?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let attached = interface.namespace().enter(|| {
            program
                .attach_with_options(interface.name(), TcAttachType::Egress, options)
                .map_err(anyhow::Error::new)
        });
        attached.with_context(|| format!("cannot attach rig_push_vlan to {}", interface.name()))?;
        Ok(Self { _object: object })
    }
}

/// Where the compiled rig is: `BARELB_RIG_OBJECT`, or where `cargo xtask` leaves it.
pub fn rig_object() -> PathBuf {
    let given = env::var_os("BARELB_RIG_OBJECT").map(PathBuf::from);
    given.unwrap_or_else(|| workspace().join("target/bpf/rig.o"))
}

/// The root of the workspace this crate was built in.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn load(loader: &mut EbpfLoader<'_>, object: &Path) -> Result<Ebpf> {
    loader.load_file(object).with_context(|| {
        format!(
            "cannot load {}: `cargo xtask build` makes it, BARELB_RIG_OBJECT names another",
            object.display()
        )
    })
}
