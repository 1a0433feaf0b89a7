//! Asking agents what they answer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, anyhow};

use super::Scope;
use super::join::{Said, join};
use super::report::{AgentSaid, Report};
use crate::agent::addresses::{AddressReport, FORM, Heading, path_of};
use crate::cli::access::Access;
use crate::cli::ask::{self, Cluster, Fault, Unasked};
use crate::k8s::agents::{AgentPod, Agents};
use crate::k8s::services;
use crate::source::kubernetes::Client;

/// Asks the API server for Services, and all agents for their addresses.
pub(in crate::cli) async fn look(client: &Client, access: &Access, scope: &Scope) -> Result<Report> {
    let place = access.place();
    let cluster = Cluster { namespace: &access.namespace, access: &place };
    let (namespace, selector) = (scope.namespace.as_deref(), scope.selector.as_deref());
    let services = async {
        let listed = services::list(client, namespace, selector).await;
        listed.map_err(|error| anyhow!("{}", cluster.no_services(namespace, &error)))
    };
    let agents = Agents::new(client.clone(), &access.namespace);
    let said = async {
        let pods = ask::pods(&agents, cluster).await?;
        anyhow::Ok(said(&agents, &pods, cluster, &BTreeSet::new()).await)
    };
    // What is wrong with the agents is told first.
    let (said, services) = futures::future::join(said, services).await;
    let ((said, unasked), services) = (said?, services?);
    let whole = namespace.is_none() && selector.is_none();
    Ok(Report {
        addresses: join(&services, &said, &unasked, whole),
        agents: said.iter().map(AgentSaid::of).collect(),
        unasked,
    })
}

/// What each agent says of these addresses, of all if there are none, and which do not.
pub(in crate::cli) async fn said(
    agents: &Agents,
    pods: &[AgentPod],
    cluster: Cluster<'_>,
    addresses: &BTreeSet<IpAddr>,
) -> (Vec<Said>, Vec<Unasked>) {
    let path = path_of(addresses);
    let one = async |pod: &AgentPod| read(&ask::page(agents, pod, &path).await?);
    let (said, unasked) = ask::all(pods, cluster, one).await;
    (said.into_iter().map(|(pod, report)| Said { pod: pod.name, report }).collect(), unasked)
}

/// A page of another form may be readable, and mean something else.
fn read(page: &str) -> Result<AddressReport, Fault> {
    let heading: Heading = serde_json::from_str(page)?;
    if heading.form == FORM { Ok(serde_json::from_str(page)?) } else { Err(Fault::OtherForm(heading)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_form_is_told_from_one_that_is_none() {
        let page = |form| {
            format!("{{\"form\":{form},\"version\":\"9.1.0\",\"node\":\"a\",\"links\":[],\"addresses\":[]}}")
        };
        assert_eq!(read(&page(FORM)).unwrap().heading.version, "9.1.0");
        let fault = read(&page(FORM + 1)).unwrap_err();
        assert!(matches!(&fault, Fault::OtherForm(heading) if heading.version == "9.1.0"), "{fault}");
        for page in ["<html>", "{}", "{\"form\":1,\"version\":\"0.1.0\"}"] {
            assert!(matches!(read(page).unwrap_err(), Fault::Unreadable(_)), "{page}");
        }
    }
}
