//! Trouble with an agent, or with its node.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Allowed, Case};
use crate::cluster::{NodeFiles, Site};
use crate::run;

const SECOND: Duration = Duration::from_secs(1);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "crash",
        what: "the agent is killed, and started again a second later",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, owner| {
            site.agent(owner)?.process().kill()?;
            thread::sleep(SECOND);
            start_and_settle(site, owner)
        },
    },
    Case {
        name: "short-hang",
        what: "the agent hangs for 3 s, half of its grace",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, owner| {
            site.agent(owner)?.process().stop()?;
            thread::sleep(3 * SECOND);
            site.agent(owner)?.process().cont()?;
            thread::sleep(3 * SECOND);
            Ok(())
        },
    },
    Case {
        name: "hang",
        what: "the agent hangs for good",
        allowed: TAKEN,
        why: "the table is silent after the grace, and then the next node answers",
        grace: "2s",
        act: |site, owner| {
            site.agent(owner)?.process().stop()?;
            site.is_owned_by(1 - owner)
        },
    },
    Case {
        name: "long-hang",
        what: "the agent hangs until another node has taken over, and goes on",
        allowed: RETURNED,
        why: "as above; back, it looks at everything before it answers",
        grace: "2s",
        act: |site, owner| {
            site.agent(owner)?.process().stop()?;
            site.is_owned_by(1 - owner)?;
            site.agent(owner)?.process().cont()?;
            site.is_owned_by(owner)?;
            thread::sleep(2 * SECOND);
            Ok(())
        },
    },
    Case {
        name: "reboot",
        what: "the node reboots within its Lease: agent and pins are gone, and start anew 3 s later",
        allowed: RETURNED,
        why: "the next node answers until this one is back, which then takes over from it",
        grace: "6s",
        act: |site, owner| {
            site.agents[owner] = None;
            wipe(site, owner)?;
            thread::sleep(3 * SECOND);
            start_and_settle(site, owner)
        },
    },
    Case {
        name: DEAD,
        what: "the node dies: nothing comes from it any more",
        allowed: TAKEN,
        why: "the next node answers when its probes are not replied to",
        grace: "2s",
        act: |site, owner| {
            cut(site, owner)?;
            site.is_owned_by(1 - owner)
        },
    },
    Case {
        name: "partition",
        what: "the node is cut off until another one has taken over, and comes back",
        allowed: RETURNED,
        why: "as above; back, both answer until they hear each other",
        grace: "2s",
        act: |site, owner| {
            cut(site, owner)?;
            site.is_owned_by(1 - owner)?;
            let cable = &site.machines[owner].cable;
            cable.b.up()?;
            cable.a.namespace().ip(&["link", "set", "eth1", "up"])?;
            site.restore_way_to_api(owner)?;
            returns(site, owner)
        },
    },
    Case {
        name: "long-partition",
        what: "nothing comes through from or to the node for longer than its Lease, with a carrier all the while",
        allowed: RETURNED,
        why: "both answer, each for its side; together again, until they hear each other",
        grace: "2s",
        act: |site, owner| {
            // 0: disabled, 3: forwarding.
            let port = |state| -> Result<()> {
                let end = &site.machines[owner].cable.b;
                let change = ["link", "set", end.name(), "type", "bridge_slave", "state", state];
                end.namespace().ip(&change).map(drop)
            };
            port("0")?;
            thread::sleep(25 * SECOND);
            port("3")?;
            thread::sleep(5 * SECOND);
            site.is_owned_by(owner)
        },
    },
    Case {
        name: "shutdown",
        what: "the node shuts down: the kubelet says so in the Node, and ends the pods",
        allowed: HAND_OVER,
        why: "the next node answers first",
        grace: "6s",
        act: |site, owner| {
            site.plane.shut_node_down(&site.machines[owner].name)?;
            if let Some(agent) = site.agents[owner].take() {
                agent.stop()?;
            }
            thread::sleep(3 * SECOND);
            Ok(())
        },
    },
    Case {
        name: "rolling-update",
        what: "a rolling update with images that take 4 s to pull, of a grace of 6 s",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            for index in 0..site.machines.len() {
                if let Some(agent) = site.agents[index].take() {
                    agent.stop()?;
                }
                thread::sleep(4 * SECOND);
                start_and_settle(site, index)?;
            }
            Ok(())
        },
    },
    Case {
        name: "link-down",
        what: "the NIC goes down and up again 4 s later; the API server is reached by another one",
        allowed: RETURNED,
        why: "the next node answers when its probes are not replied to; back, this one takes over from it",
        grace: "6s",
        act: |site, owner| {
            site.machines[owner].cable.a.down()?;
            thread::sleep(4 * SECOND);
            site.machines[owner].cable.a.up()?;
            returns(site, owner)
        },
    },
    Case {
        name: "link-renamed",
        what: "the NIC is renamed, and back 4 s later",
        allowed: RETURNED,
        why: "as above",
        grace: "6s",
        act: |site, owner| {
            let link = &site.machines[owner].cable.a;
            let rename = |from: &str, to: &str| {
                link.namespace().ip(&["link", "set", from, "down"])?;
                link.namespace().ip(&["link", "set", from, "name", to])?;
                link.namespace().ip(&["link", "set", to, "up"])
            };
            rename("eth0", "wan0")?;
            thread::sleep(4 * SECOND);
            rename("wan0", "eth0")?;
            returns(site, owner)
        },
    },
    Case {
        name: "link-replaced",
        what: "the NIC vanishes, and another one of its name appears 4 s later",
        allowed: RETURNED,
        why: "as above",
        grace: "6s",
        act: |site, owner| {
            site.replace_link(owner, 4 * SECOND)?;
            returns(site, owner)
        },
    },
    Case {
        name: "clock",
        what: "the clock of the node steps an hour ahead, and two hours back",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, owner| {
            let folder = site.machines[owner].files.state().to_owned();
            let clock = folder.join("clock");
            std::fs::write(&clock, "+0")?;
            site.start_agent_by_clock(owner, &clock)?;
            thread::sleep(5 * SECOND);
            for step in ["+3600", "-3600"] {
                std::fs::write(&clock, step)?;
                // Longer than a Lease.
                thread::sleep(23 * SECOND);
            }
            Ok(())
        },
    },
];

/// The case that is measured with the default grace too.
pub(super) const DEAD: &str = "dead";

/// The next node answers within tens of milliseconds; more for a machine that is busy.
const TAKEN: Allowed = Allowed { silence: SECOND, both: Duration::ZERO, moves: 1 };
/// The same, and this one again later.
const RETURNED: Allowed = Allowed { silence: SECOND, both: SECOND, moves: 2 };
/// Every request has its one answer, from the same node.
pub(super) const NOTHING: Allowed = Allowed { silence: Duration::ZERO, both: Duration::ZERO, moves: 0 };

/// Both answer for a moment.
const HAND_OVER: Allowed = Allowed { silence: Duration::ZERO, both: Duration::from_secs(3), moves: 1 };

/// Starts the agent of a node, and waits for more than it needs.
pub(super) fn start_and_settle(site: &mut Site, index: usize) -> Result<()> {
    site.start_agent(index)?;
    thread::sleep(5 * SECOND);
    Ok(())
}

/// Waits until the address is with its first owner again, and a moment longer.
pub(super) fn returns(site: &Site, owner: usize) -> Result<()> {
    site.is_owned_by(owner)?;
    thread::sleep(SECOND);
    Ok(())
}

/// Lets nothing through from or to a node.
fn cut(site: &Site, index: usize) -> Result<()> {
    let cable = &site.machines[index].cable;
    cable.b.down()?;
    cable.a.namespace().ip(&["link", "set", "eth1", "down"]).map(drop)
}

/// What a reboot takes from a node: its pins, and with them the programs, the groups and `/run`.
fn wipe(site: &mut Site, index: usize) -> Result<()> {
    let machine = &mut site.machines[index];
    let mut detach = machine.cable.a.namespace().command(machine.files.binary());
    detach.args(["detach", "--all", "--bpffs"]).arg(machine.files.bpffs());
    run::output(&mut detach)?;
    machine.files = NodeFiles::new()?;
    Ok(())
}
