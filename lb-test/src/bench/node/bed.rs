//! A control plane, nodes and a client on one switch. No controller runs: what it would write is written here.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use serde_json::{Value, json};

use super::api::{Api, Call};
use crate::cluster::services::{object, pool};
use crate::cluster::{ControlPlane, Network, NodeAgent, NodeFiles, Options};
use crate::link::Veth;

const CONTROL: u8 = 2;
const CLIENT: u8 = 10;
pub(super) const FIRST_NODE: u8 = 11;

/// See the module.
pub(super) struct Bed {
    pub(super) api: Api,
    pub(super) machines: Vec<Machine>,
    /// Its side of the client's cable is `a`.
    pub(super) client: Veth,
    pub(super) plane: ControlPlane,
    _control: Veth,
    _network: Network,
}

/// A node without an agent.
pub(super) struct Machine {
    pub(super) name: String,
    /// The node's side is `a`.
    pub(super) cable: Veth,
    pub(super) files: NodeFiles,
}

impl Bed {
    /// So many nodes, `node-0` and on; a pool of these addresses, and an advertisement of everything.
    pub(super) fn new(nodes: u8, addresses: &[&str]) -> Result<Self> {
        let network = Network::new()?;
        let control = network.attach("control-plane", CONTROL)?;
        let options = Options { namespace: Some(control.a.namespace().clone()), ..Options::default() };
        let plane = ControlPlane::start_with(options)?;
        plane.install()?;
        plane.apply_all(&[
            pool("p", addresses),
            object("metallb.io/v1beta1", "L2Advertisement", "all", json!({})),
        ])?;
        let machine = |number: u8| {
            let (name, host) = (node(number), FIRST_NODE + number);
            let cable = network.attach(&name, host)?;
            plane.add_nodes(&[(&name, &Network::addresses(host))])?;
            Ok(Machine { name, cable, files: NodeFiles::new()? })
        };
        let machines = (0..nodes).map(machine).collect::<Result<_>>()?;
        let (client, api) = (network.attach("client", CLIENT)?, Api::start(&plane)?);
        Ok(Self { api, machines, client, plane, _control: control, _network: network })
    }

    /// Starts the agent of a node, with further arguments.
    pub(super) fn agent(&self, number: usize, arguments: &[&str]) -> Result<NodeAgent> {
        let Machine { name, cable, files } = &self.machines[number];
        NodeAgent::start(&self.plane, cable.a.namespace(), name, files, arguments)
    }
}

/// The name of a node.
pub(super) fn node(number: u8) -> String {
    format!("node-{number}")
}

/// A Service of its own slice, that has these addresses once its status is written.
pub(super) struct Web<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) policy: &'a str,
    pub(super) ips: &'a [IpAddr],
    pub(super) endpoint: Endpoint,
}

/// Where its only endpoint is, and whether it is ready.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) node: u8,
    pub(super) ready: bool,
}

impl Web<'_> {
    /// Makes the Service.
    pub(super) fn create(&self) -> Call {
        let (one, two) = (["SingleStack", "RequireDualStack"], self.ips.len() == 2);
        let families: Vec<&str> = self.ips.iter().map(family).collect();
        // Without node ports, of which a cluster has 2,768.
        let spec = json!({
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}],
            "externalTrafficPolicy": self.policy, "selector": {"app": self.name},
            "ipFamilyPolicy": one[usize::from(two)], "ipFamilies": families,
        });
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
        Call::create(&format!("/api/v1/namespaces/{}/services", self.namespace), service)
    }

    /// Writes the addresses into the status, or takes them away.
    pub(super) fn assign(&self, has: bool) -> Call {
        let ips: Vec<Value> = self.ips.iter().map(|ip| json!({"ip": ip})).collect();
        let ingress = if has { Value::from(ips) } else { Value::Null };
        let path = format!("/api/v1/namespaces/{}/services/{}/status", self.namespace, self.name);
        Call::patch(&path, json!({"status": {"loadBalancer": {"ingress": ingress}}}))
    }

    /// Makes the slice.
    pub(super) fn slice(&self) -> Call {
        let six = self.ips.first().is_some_and(IpAddr::is_ipv6);
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "addressType": if six { "IPv6" } else { "IPv4" },
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": self.name},
            },
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": self.endpoints(self.endpoint.ready),
        });
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.namespace);
        Call::create(&path, slice)
    }

    /// Makes the endpoint ready, or not.
    pub(super) fn ready(&self, ready: bool) -> Call {
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.namespace);
        Call::patch(&format!("{slices}/{}", self.name), json!({"endpoints": self.endpoints(ready)}))
    }

    fn endpoints(&self, ready: bool) -> Value {
        let [v4, v6] = Network::addresses(FIRST_NODE + self.endpoint.node);
        let address = if self.ips.first().is_some_and(IpAddr::is_ipv6) { v6 } else { v4 };
        json!([{
            "addresses": [address], "nodeName": node(self.endpoint.node),
            "conditions": {"ready": ready, "serving": ready},
        }])
    }
}

fn family(ip: &IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The address of the API server on the switch.
pub(super) fn server() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, CONTROL))
}
