//! The Service status this project writes, in Kubernetes' own spelling.
//!
//! Times come from the caller as text; a status that differs in nothing but times is not written.

use std::net::IpAddr;

use serde::Serialize;

use crate::{
    addresses::Addresses,
    allocator::{Decision, Notice},
    plan::{AddressVerdict, Verdict},
};

#[cfg(test)]
mod tests;

/// Type of the condition that tells whether the Service has the addresses it asks for.
pub const ALLOCATED: &str = "Allocated";
/// Type of the condition that is there, and false, while what is written of the Service has an error.
pub const ACCEPTED: &str = "Accepted";
/// Type of the condition that tells whether this node announces them.
pub const ANNOUNCED: &str = "Announced";

/// `status` of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The addresses.
    pub load_balancer: LoadBalancerStatus,
    /// What is the case, and why.
    pub conditions: Vec<Condition>,
}

/// `status.loadBalancer`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerStatus {
    /// One entry for each address; addresses given together have IPv4 first.
    pub ingress: Vec<Ingress>,
}

/// One address of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The address.
    pub ip: IpAddr,
    /// Traffic arrives with this address as its destination.
    pub ip_mode: IpMode,
}

/// `ipMode` of an ingress entry (KEP-1860).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum IpMode {
    /// Delivered with the destination set to the address.
    #[serde(rename = "VIP")]
    Vip,
}

/// Truth of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Truth {
    /// It is the case.
    True,
    /// It is not.
    False,
}

/// `metav1.Condition`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is the case.
    pub status: Truth,
    /// One word for programs.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// When `status` last changed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

impl ServiceStatus {
    /// The status of a Service after a decision and a plan. `announced` are the verdicts of this node; empty where
    /// nothing announces, as in the controller: then there is no condition about it.
    pub fn new(decision: &Decision, announced: &[AddressVerdict]) -> Self {
        let held = decision.allocation.as_ref().map(|allocation| allocation.addresses);
        let addresses = held.or(decision.awaiting).into_iter().flat_map(Addresses::iter);
        let ingress = addresses.map(|ip| Ingress { ip, ip_mode: IpMode::Vip }).collect();
        let conditions = std::iter::once(allocated(decision)).chain(announced_condition(announced)).collect();
        Self { load_balancer: LoadBalancerStatus { ingress }, conditions }
    }

    /// Notes that what is written now was refused, so that the rest is about what was written before.
    pub fn refuse(&mut self, message: String) {
        self.conditions.push(condition(ACCEPTED, Truth::False, "Invalid", message));
    }

    /// Whether anything but times differs.
    pub fn differs(&self, previous: &Self) -> bool {
        let without_times = |status: &Self| {
            let mut status = status.clone();
            status.conditions.iter_mut().for_each(|condition| condition.last_transition_time = None);
            status
        };
        without_times(self) != without_times(previous)
    }

    /// Keeps the times of conditions whose truth is what it was, and gives `now` to the others.
    pub fn carry_times(&mut self, previous: Option<&Self>, now: &str) {
        for condition in &mut self.conditions {
            let former = previous.iter().flat_map(|previous| &previous.conditions);
            let same = former.into_iter().find(|f| f.kind == condition.kind && f.status == condition.status);
            let time = same.and_then(|former| former.last_transition_time.clone());
            condition.last_transition_time = time.or_else(|| Some(now.to_owned()));
        }
    }
}

fn condition(kind: &str, status: Truth, reason: &str, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: None,
    }
}

fn allocated(decision: &Decision) -> Condition {
    let partial = decision.notices.iter().find_map(|notice| match notice {
        Notice::OneFamilyOnly { missing, pool } => Some((missing, pool)),
        Notice::UnreadableStatus(_) | Notice::Cleared { .. } => None,
    });
    match (&decision.allocation, &decision.error, partial) {
        (Some(held), Some(error), _) => {
            let message = format!("keeps {} of pool {}: {error}", held.addresses, held.pool);
            condition(ALLOCATED, Truth::False, error.reason(), message)
        }
        (None, Some(error), _) => {
            let message = match decision.awaiting {
                Some(awaited) => format!("waits for {awaited} until all pools can be read: {error}"),
                None => error.to_string(),
            };
            condition(ALLOCATED, Truth::False, error.reason(), message)
        }
        (Some(held), None, Some((missing, pool))) => {
            let message = format!("{} of pool {pool}, which has no free {missing} address", held.addresses);
            condition(ALLOCATED, Truth::True, "OneFamilyOnly", message)
        }
        (Some(held), None, None) => {
            let message = format!("{} of pool {}", held.addresses, held.pool);
            condition(ALLOCATED, Truth::True, "IPAllocated", message)
        }
        (None, None, _) => {
            let message = "the Service is not of type LoadBalancer".to_owned();
            condition(ALLOCATED, Truth::False, "NotLoadBalancer", message)
        }
    }
}

/// True when this node announces every address.
fn announced_condition(verdicts: &[AddressVerdict]) -> Option<Condition> {
    let describe = |verdict: &AddressVerdict| match &verdict.verdict {
        Verdict::Owner => format!("{} is announced from this node", verdict.ip),
        Verdict::Standby { owner, rank } => {
            format!("{} is announced by node {owner}; this node is number {rank} behind it", verdict.ip)
        }
        Verdict::Waiting => {
            format!("{} waits until this node knows whether another one announces it", verdict.ip)
        }
        Verdict::Silent(silence) => format!("{} is not announced from this node: {silence}", verdict.ip),
    };
    let reason = |verdict: &AddressVerdict| match &verdict.verdict {
        Verdict::Owner => None,
        Verdict::Standby { .. } => Some("Standby"),
        Verdict::Waiting => Some("Waiting"),
        Verdict::Silent(silence) => Some(silence.reason()),
    };
    let messages: Vec<String> = verdicts.iter().map(describe).collect();
    let other = verdicts.iter().find_map(reason);
    let (status, reason) = other.map_or((Truth::True, "Announcing"), |reason| (Truth::False, reason));
    (!messages.is_empty()).then(|| condition(ANNOUNCED, status, &camel(reason), messages.join("; ")))
}

/// A condition's reason starts with a capital (`metav1.Condition`); MetalLB's words do not.
fn camel(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
