//! How a link is attached to, and in which order the ways are tried.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LinkFacts, Refusal};

/// A way to see the frames of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// XDP in the driver's receive path.
    Native,
    /// The tcx ingress hook (kernel 6.6): after the kernel made an skb, before anything else.
    Tcx,
    /// XDP on skbs. Linearises large packets: the last resort.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Tcx => "tcx",
            Self::Generic => "generic",
        })
    }
}

/// What `--xdp-mode` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeChoice {
    /// The first that works of native, tcx, generic.
    #[default]
    Auto,
    /// Native XDP or nothing.
    Native,
    /// Generic XDP or nothing.
    Generic,
    /// tcx or nothing.
    Tcx,
}

/// Driver name of a bond.
const BOND: &str = "bonding";

/// Modes to try in order, and those ruled out beforehand with the reason.
///
/// A link whose hardware may take VLAN tags off is seen by tcx only, whatever was asked for: XDP would take a frame
/// of a VLAN for an untagged one and answer on the wrong VLAN.
pub fn ladder(choice: ModeChoice, link: &LinkFacts, kernel_has_tcx: bool) -> (Vec<Mode>, Vec<Refusal>) {
    let wanted: &[Mode] = match choice {
        ModeChoice::Auto => &[Mode::Native, Mode::Tcx, Mode::Generic],
        ModeChoice::Native if link.strips_tags => &[Mode::Native, Mode::Tcx],
        ModeChoice::Generic if link.strips_tags => &[Mode::Generic, Mode::Tcx],
        ModeChoice::Native => &[Mode::Native],
        ModeChoice::Generic => &[Mode::Generic],
        ModeChoice::Tcx => &[Mode::Tcx],
    };
    let mut refused = Vec::new();
    let modes = wanted.iter().copied().filter(|mode| match ruled_out(*mode, choice, link, kernel_has_tcx) {
        Some(reason) => {
            refused.push(Refusal { mode: *mode, reason });
            false
        }
        None => true,
    });
    let modes = modes.collect();
    (modes, refused)
}

fn ruled_out(mode: Mode, choice: ModeChoice, link: &LinkFacts, kernel_has_tcx: bool) -> Option<String> {
    let name = &link.name;
    if mode == Mode::Tcx {
        return (!kernel_has_tcx).then(|| "needs kernel 6.6".to_owned());
    }
    // The program runs in the members' drivers and sees their indexes; entries have the bond's.
    if mode == Mode::Native && link.driver == BOND {
        return Some(format!(
            "{name} is a bond, whose native XDP runs on its members and would find no entry (use --xdp-mode auto or tcx)"
        ));
    }
    if link.strips_tags {
        return Some(format!(
            "{name} may strip VLAN tags before XDP sees them (run `ethtool -K {name} rxvlan off` to allow it)"
        ));
    }
    if mode == Mode::Native && choice == ModeChoice::Auto {
        if link.driver == "veth" {
            return Some("a veth loses what XDP sends unless its peer has an XDP program".to_owned());
        }
        if link.loses_native {
            return Some(format!("driver {} counted transmit errors for XDP answers", link.driver));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(driver: &str, strips_tags: bool) -> LinkFacts {
        LinkFacts {
            name: "eth0".to_owned(),
            driver: driver.to_owned(),
            strips_tags,
            loses_native: false,
            xdp: (None, None),
        }
    }

    #[test]
    fn order() {
        use Mode::{Generic, Native, Tcx};
        for (choice, driver, strips, tcx, expected) in [
            (ModeChoice::Auto, "ixgbe", false, true, vec![Native, Tcx, Generic]),
            (ModeChoice::Auto, "ixgbe", false, false, vec![Native, Generic]),
            (ModeChoice::Auto, "veth", false, true, vec![Tcx, Generic]),
            (ModeChoice::Auto, "ixgbe", true, true, vec![Tcx]),
            (ModeChoice::Auto, "ixgbe", true, false, vec![]),
            (ModeChoice::Native, "veth", false, true, vec![Native]),
            (ModeChoice::Native, "veth", true, true, vec![Tcx]),
            (ModeChoice::Generic, "veth", true, true, vec![Tcx]),
            (ModeChoice::Generic, "veth", false, true, vec![Generic]),
            (ModeChoice::Tcx, "veth", true, true, vec![Tcx]),
            (ModeChoice::Auto, "bonding", false, true, vec![Tcx, Generic]),
            (ModeChoice::Auto, "bonding", false, false, vec![Generic]),
            (ModeChoice::Auto, "bonding", true, true, vec![Tcx]),
            (ModeChoice::Native, "bonding", false, true, vec![]),
            (ModeChoice::Native, "bonding", true, true, vec![Tcx]),
            (ModeChoice::Generic, "bonding", false, true, vec![Generic]),
        ] {
            let (modes, refused) = ladder(choice, &link(driver, strips), tcx);
            assert_eq!(modes, expected, "{choice:?} {driver} strips={strips} tcx={tcx}");
            assert!(refused.iter().all(|r| !modes.contains(&r.mode) && !r.reason.is_empty()));
        }
    }

    #[test]
    fn a_bond_says_why_it_is_not_native() {
        let (_, refused) = ladder(ModeChoice::Auto, &link("bonding", false), true);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].reason.contains("eth0 is a bond"), "{}", refused[0].reason);
    }

    #[test]
    fn a_driver_that_loses_answers_is_left_in_auto_only() {
        let facts = LinkFacts { loses_native: true, ..link("e1000", false) };
        assert_eq!(ladder(ModeChoice::Auto, &facts, true).0, [Mode::Tcx, Mode::Generic]);
        assert_eq!(ladder(ModeChoice::Native, &facts, true).0, [Mode::Native]);
    }
}
