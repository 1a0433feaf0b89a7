//! A client and a node in namespaces of their own, one cable between them, the programs attached at the node.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::LinkOrder;
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::xdp::{Xdp, XdpMode};
use lb_common::abi::{Entry, KeyV4, State, Vlans};

use super::responder::{Program, Responder};
use super::vectors::parse::{Case, NODE};
use crate::link::{Interface, Offload, Veth, mac};
use crate::namespace::Namespace;
use crate::rig::{PassProgram, PushVlan, VlanTag};
use crate::wire::{Endpoint, arp_request};

/// The address whose reply shows that everything sent before it was dealt with.
const FENCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 250);
/// Its slot, one that no case uses.
const FENCE_SLOT: u32 = 100;
/// How long that may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long silence is listened to where no fence can be answered.
const SILENCE: Duration = Duration::from_millis(100);
/// As long as frames of one page can be with an XDP program on a veth.
const MTU: &str = "3400";

/// How the programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// XDP in the driver; the client's end has a program too, else `XDP_TX` is lost on a veth.
    Native,
    /// XDP in the stack.
    Generic,
    /// The classifier.
    Tcx,
}

/// Both ends and what is attached to them.
#[derive(Debug)]
pub struct Cable {
    /// 02:00:00:00:00:01.
    pub client: Interface,
    /// 02:00:00:00:00:aa.
    pub node: Interface,
    /// On the client.
    pub endpoint: Endpoint,
    /// On the node.
    pub responder: Responder,
    mode: Mode,
    _pass: Option<PassProgram>,
}

impl Cable {
    /// A cable whose frames may be as long as a page holds.
    pub fn new(mode: Mode) -> Result<Self> {
        Self::with_mtu(mode, MTU)
    }

    /// As [`Cable::new`]; with a longer `mtu` the client's end can't have a program, so native replies are lost.
    pub fn with_mtu(mode: Mode, mtu: &str) -> Result<Self> {
        let (client, node) = (Namespace::new("client")?, Namespace::new("node")?);
        let Veth { a: client, b: node } = Veth::new((&client, "eth0", mac(1)), (&node, "eth0", mac(0xaa)))?;
        for end in [&client, &node] {
            end.namespace().ip(&["link", "set", end.name(), "mtu", mtu])?;
        }
        let mut responder = Responder::load()?;
        attach(&mut responder, mode, &node)?;
        let pass = (mode == Mode::Native && mtu == MTU).then(|| PassProgram::attach(&client)).transpose()?;
        let endpoint = Endpoint::open(&client)?;
        Ok(Self { client, node, endpoint, responder, mode, _pass: pass })
    }

    /// Makes the maps what the case says.
    pub fn arrange(&mut self, case: &Case) -> Result<()> {
        self.responder.arrange(case, self.node.index())?;
        let key = KeyV4::new(self.node.index(), Vlans::UNTAGGED, FENCE.octets());
        self.responder.insert_v4(&key, &Entry::new(NODE, State::Answer, FENCE_SLOT))
    }

    /// Sends the frame of a case and returns all that comes back.
    pub fn react(&self, case: &Case) -> Result<Vec<Vec<u8>>> {
        match case.stripped {
            Some((tpid, tci)) => self.react_stripped(&case.frame, tpid, tci),
            None if !case.agent => self.endpoint.exchange(&case.frame, SILENCE),
            None => {
                let fence = arp_request(mac(1), Ipv4Addr::new(192, 0, 2, 11), FENCE);
                self.endpoint.exchange_fenced(&case.frame, &fence, is_fence, LIMIT)
            }
        }
    }

    /// As [`Cable::react`] for several frames, all sent before the first reply is awaited.
    pub fn react_to_many(&self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        self.endpoint.drain()?;
        let deadline = Instant::now() + LIMIT;
        let mut replies = Vec::with_capacity(frames.len());
        // Fewer than the ring of a veth holds (256).
        for burst in frames.chunks(128) {
            burst.iter().try_for_each(|frame| self.endpoint.send(frame))?;
            for _ in burst {
                match self.endpoint.receive(deadline)? {
                    Some(reply) => replies.push(reply.bytes),
                    None => bail!("{} replies to {} frames", replies.len(), frames.len()),
                }
            }
        }
        Ok(replies)
    }

    /// The client pushes the tag out of band, the node's end leaves it there: a card that strips tags (V06).
    fn react_stripped(&self, frame: &[u8], tpid: [u8; 2], tci: [u8; 2]) -> Result<Vec<Vec<u8>>> {
        if self.mode != Mode::Tcx {
            bail!("XDP can't see stripped tags");
        }
        self.node.offload(Offload::RxVlan, true)?;
        let tag = VlanTag { protocol: u16::from_be_bytes(tpid), tci: u16::from_be_bytes(tci) };
        let push = PushVlan::attach(&self.client, tag)?;
        let replies = self.endpoint.exchange(frame, SILENCE);
        drop(push);
        self.client.plain()?;
        self.node.plain()?;
        replies
    }
}

fn attach(responder: &mut Responder, mode: Mode, node: &Interface) -> Result<()> {
    let program = if mode == Mode::Tcx { Program::Tcx } else { Program::Xdp };
    let found = responder.object().program_mut(program.name()).context("no such program in the object")?;
    let done = match mode {
        Mode::Native | Mode::Generic => {
            let flags = if mode == Mode::Native { XdpMode::Driver } else { XdpMode::Skb };
            let xdp: &mut Xdp = found.try_into()?;
            node.namespace().enter(|| Ok(xdp.attach_to_if_index(node.index(), flags).map(drop)?))
        }
        Mode::Tcx => {
            let classifier: &mut SchedClassifier = found.try_into()?;
            let first = TcAttachOptions::TcxOrder(LinkOrder::first());
            let attach =
                || classifier.attach_with_options(node.name(), TcAttachType::Ingress, first).map(drop);
            node.namespace().enter(|| Ok(attach()?))
        }
    };
    done.with_context(|| format!("cannot attach {} ({mode:?})", program.name()))
}

fn is_fence(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 6]) && frame.get(28..32) == Some(&FENCE.octets())
}

/// Waits until `done`, or fails after some seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !done()? {
        if Instant::now() > deadline {
            bail!("still not after {LIMIT:?}: {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
