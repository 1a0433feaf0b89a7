//! What the client and the API server show of a cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Site;
use crate::client::{ProbeClient, ProbeConfig, Report};
use crate::cluster::{Controller, NodeAgent};
use crate::lab::web::{fetch, host};
use crate::link::mac_text;

const GLANCE: Duration = Duration::from_millis(300);

impl Site {
    /// Has the agents run in pods, as far as the API server knows, which it asks over each family in turn.
    pub fn add_agent_pods(&self) -> Result<()> {
        for (index, machine) in self.machines.iter().enumerate() {
            let addresses = machine.addresses();
            self.plane.add_agent_pod(&machine.name, addresses[index % addresses.len()], None)?;
        }
        Ok(())
    }

    /// Begins to ask for the addresses of the Service `web`.
    pub fn probe(&self, per_second: u32) -> Result<ProbeClient> {
        self.probe_for(&self.vips(), per_second)
    }

    /// Begins to ask for these addresses.
    pub fn probe_for(&self, targets: &[IpAddr], per_second: u32) -> Result<ProbeClient> {
        ProbeClient::start(&self.client.a, ProbeConfig { targets: targets.to_vec(), per_second })
    }

    /// Asks for the addresses of the Service `web` for a while.
    pub fn ask(&self, long: Duration) -> Result<Report> {
        self.probe(200)?.run_for(long)
    }

    /// Waits until exactly one node answers for all addresses of the Service `web`; which one.
    pub fn owner(&self) -> Result<usize> {
        self.owner_of(&self.vips())
    }

    /// Waits until exactly one node answers for all these addresses; which one.
    pub fn owner_of(&self, targets: &[IpAddr]) -> Result<usize> {
        self.plane.wait_for(Controller::PATIENCE, "no single owner", |_| {
            let report = self.probe_for(targets, 200)?.run_for(GLANCE)?;
            let by: BTreeSet<_> = report.by_mac.keys().copied().collect();
            let index = self.machines.iter().position(|one| by == BTreeSet::from([one.cable.a.mac()]));
            ensure!(index.is_some() && report.missing.is_empty(), "{}\n{}", report.summary(), self.logs());
            Ok(index)
        })
    }

    /// Waits until this node answers alone for the Service `web`.
    pub fn is_owned_by(&self, index: usize) -> Result<()> {
        let missing = format!("{} is not the owner", self.machines[index].name);
        self.plane.wait_for(Controller::PATIENCE, &missing, |_| Ok((self.owner()? == index).then_some(())))
    }

    /// Waits until nobody answers for these addresses.
    pub fn is_silent_for(&self, targets: &[IpAddr]) -> Result<()> {
        self.plane.wait_for(Controller::PATIENCE, "somebody answers", |_| {
            let report = self.probe_for(targets, 200)?.run_for(GLANCE)?;
            ensure!(report.answered == 0, "{}\n{}", report.summary(), self.logs());
            Ok(Some(()))
        })
    }

    /// Waits until exactly this node, or none, says that it announces the Service `web`.
    pub fn is_said_to_be_of(&self, node: Option<usize>) -> Result<()> {
        self.service_is_said_to_be_of("web", node)
    }

    /// Waits until exactly this node, or none, says that it announces a Service of the namespace `default`.
    pub fn service_is_said_to_be_of(&self, service: &str, node: Option<usize>) -> Result<()> {
        let one = |node: usize| {
            json!({
                "node": self.machines[node].name, "serviceName": service, "serviceNamespace": "default",
                "interfaces": [{"name": "eth0"}],
            })
        };
        let expected: Vec<Value> = node.into_iter().map(one).collect();
        self.plane.wait_for(Controller::PATIENCE, "it is not said", |plane| {
            let statuses = plane.get(&["servicel2statuses", "--namespace", "metallb-system"])?;
            let items = statuses["items"].as_array().into_iter().flatten();
            let of_service = items.map(|item| &item["status"]).filter(|one| one["serviceName"] == service);
            let found: Vec<Value> = of_service.cloned().collect();
            ensure!(found == expected, "{found:?}\n{}", self.logs());
            Ok(Some(()))
        })
    }

    /// How often it was told that a node announces the Service `web`.
    pub fn times_assigned(&self, node: usize) -> Result<usize> {
        let events = self.plane.events()?;
        let note = format!("announcing from node {:?} with protocol \"layer2\"", self.machines[node].name);
        let told = events.iter().filter(|event| {
            event["reason"] == "nodeAssigned" && event["regarding"]["name"] == "web" && event["note"] == *note
        });
        Ok(told.count())
    }

    /// What agents and controller have warned of. An address that moves is announced by two nodes for a moment, and one
    /// of them notices: that is left out.
    pub fn warnings(&self) -> Vec<String> {
        let nodes: Vec<String> =
            self.machines.iter().map(|one| format!("other={} ", mac_text(one.cable.a.mac()))).collect();
        let is_move = |line: &str| {
            line.contains("claims an address of ours") && nodes.iter().any(|node| line.contains(node))
        };
        let logs = self.agents.iter().flatten().map(NodeAgent::log).chain([self.controller.log()]);
        let is_told =
            |line: &&str| [" WARN ", " ERROR "].iter().any(|level| line.contains(level)) && !is_move(line);
        logs.flat_map(|log| log.lines().filter(is_told).map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Waits until the page that the client gets by each address of the Service `web` comes from one of these nodes,
    /// which was asked by the client's own address.
    pub fn serves(&self, nodes: &[usize]) -> Result<()> {
        for (vip, peer) in self.vips().into_iter().zip(self.client_addresses()) {
            self.plane.wait_for(Controller::PATIENCE, "no page", |_| {
                let page = fetch(self.client.a.namespace(), vip)?;
                let mut names = nodes.iter().map(|node| &self.machines[*node].name);
                let is_expected =
                    names.any(|name| page == format!("{name} serves http://{}/ to {peer}", host(vip)));
                ensure!(is_expected, "{page}\n{}", self.logs());
                Ok(Some(()))
            })?;
        }
        Ok(())
    }
}
