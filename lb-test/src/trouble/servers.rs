//! Trouble with the API server and its store.

use std::thread;
use std::time::Duration;

use super::Case;
use super::agents::{NOTHING, start_and_settle};
use crate::cluster::Component;

const SECOND: Duration = Duration::from_secs(1);
/// A Lease of a grace of 6 s lasts 21 s.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(25);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "api-away",
        what: "the API server is away for longer than a Lease, and comes back",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            site.plane.kill(Component::ApiServer)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            site.plane.restart(Component::ApiServer)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            Ok(())
        },
    },
    Case {
        name: "api-away-restarts",
        what: "the same, and all agents are killed and started meanwhile, one after the other",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            site.plane.kill(Component::ApiServer)?;
            for index in 0..site.machines.len() {
                site.agent(index)?.process().kill()?;
                thread::sleep(SECOND);
                start_and_settle(site, index)?;
            }
            thread::sleep(LONGER_THAN_A_LEASE);
            site.plane.restart(Component::ApiServer)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            Ok(())
        },
    },
    Case {
        name: "api-frozen",
        what: "the API server hangs for longer than a Lease: connections stay and nothing is answered",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            site.plane.freeze(Component::ApiServer)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            site.plane.thaw(Component::ApiServer)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            Ok(())
        },
    },
    Case {
        name: "etcd-restart",
        what: "etcd is killed and started again 10 s later",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            site.plane.kill(Component::Etcd)?;
            thread::sleep(10 * SECOND);
            site.plane.restart(Component::Etcd)?;
            thread::sleep(LONGER_THAN_A_LEASE);
            Ok(())
        },
    },
    Case {
        name: "watch-storm",
        what: "the API server starts anew three times in a row: all watches break off and everything is listed anew",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            for _ in 0..3 {
                site.plane.kill(Component::ApiServer)?;
                site.plane.restart(Component::ApiServer)?;
                thread::sleep(2 * SECOND);
            }
            thread::sleep(LONGER_THAN_A_LEASE);
            Ok(())
        },
    },
    Case {
        name: "lonely",
        what: "the owner alone loses the way to the API server for longer than a Lease",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, owner| {
            let namespace = site.machines[owner].cable.a.namespace().clone();
            let server = site.plane.address().ip().to_string();
            namespace.ip(&["route", "replace", "unreachable", &server])?;
            thread::sleep(LONGER_THAN_A_LEASE);
            namespace.ip(&["route", "delete", "unreachable", &server])?;
            site.restore_way_to_api(owner)?;
            thread::sleep(2 * SECOND);
            Ok(())
        },
    },
];
