//! One frame to both responders: the code under test, by way of [`flow`], and the [`reference`].

use std::net::IpAddr;

use super::flow::{self, Input, LINK, Maps};
use super::reference::{self, Reaction, Reflects, Vip};
use super::vectors::parse::{Case, NODE};
use lb_common::abi::{Entry, KeyV4, KeyV6, State, Vlans};
use lb_common::outcome::Outcome;

/// A map and a frame.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Addresses, VLANs (outer, inner; 0 = none), whether to answer.
    pub vips: Vec<(IpAddr, (u16, u16), bool)>,
    /// Own addresses whose probes are reflected, with discriminator and whether they are up.
    pub reflectors: Vec<(IpAddr, u32, bool)>,
    /// Who may probe.
    pub members: Vec<(IpAddr, [u8; 6])>,
    /// The deadline of the agent lies ahead.
    pub alive: bool,
    /// TPID and TCI of a tag beside the frame.
    pub stripped: Option<(u16, u16)>,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Trial {
    /// What a vector describes.
    pub fn of(case: &Case) -> Self {
        let here = case.entries.iter().filter(|entry| !entry.other_link);
        let vips = here.map(|entry| {
            (entry.addr, (entry.vlans.outer(), entry.vlans.inner()), entry.state == State::Answer)
        });
        Self {
            vips: vips.collect(),
            reflectors: case.reflectors.clone(),
            members: case.members.clone(),
            alive: case.agent,
            stripped: case.stripped.map(|(tpid, tci)| (u16::from_be_bytes(tpid), u16::from_be_bytes(tci))),
            frame: case.frame.clone(),
        }
    }

    /// What the code under test does, in the words of the reference, and the outcome it names.
    pub fn ours(&self) -> (Reaction, Outcome) {
        let maps = Maps { agent: self.alive, ..Maps::default() };
        let mut maps = maps.reflecting(&self.reflectors, &self.members);
        for (addr, (outer, inner), active) in &self.vips {
            let vlans = Vlans::new(*outer, *inner);
            let entry = Entry::new(NODE, if *active { State::Answer } else { State::Standby }, 0);
            match addr {
                IpAddr::V4(addr) => maps.v4.insert(KeyV4::new(LINK, vlans, addr.octets()), entry),
                IpAddr::V6(addr) => maps.v6.insert(KeyV6::new(LINK, vlans, addr.octets()), entry),
            };
        }
        let stripped = self.stripped.map(|(tpid, tci)| (tpid.to_be_bytes(), tci.to_be_bytes()));
        let mut frame = Input { stripped, ..Input::linear(self.frame.clone()) };
        let outcome = flow::respond(&maps, &mut frame);
        if outcome.is_answer() {
            return (Reaction::Reply(frame.bytes), outcome);
        }
        assert_eq!(frame.bytes, self.frame, "{outcome:?} must leave the frame as it was");
        (if outcome.is_conflict() { Reaction::Conflict } else { Reaction::Nothing }, outcome)
    }

    /// What the reference does.
    pub fn reference(&self) -> Reaction {
        let mut vips: Vec<Vip> = Vec::new();
        // Of two entries for one address the later stands, as in a map.
        for (addr, (outer, inner), active) in self.vips.iter().rev() {
            let vlans: Vec<u16> = [*outer, *inner].into_iter().filter(|id| *id != 0).collect();
            vips.push(Vip { addr: *addr, vlans, mac: NODE, active: *active });
        }
        let reflects = Reflects { own: &self.reflectors, members: &self.members };
        reference::react(&vips, reflects, self.alive, (&self.frame, self.stripped))
    }

    /// Panics where the two differ.
    pub fn compare(&self) -> Outcome {
        let (ours, outcome) = self.ours();
        assert_eq!(ours, self.reference(), "left: {outcome:?}, right: the reference, of {self:02x?}");
        outcome
    }
}
