//! Services of type LoadBalancer, listed once.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, api::ListParams};
use lb_core::ids::ServiceKey;

use super::agents::{AskError, in_time};
use super::convert;

/// What is shown of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balanced {
    /// Its name.
    pub service: ServiceKey,
    /// Its class, if it has one.
    pub class: Option<String>,
    /// The addresses of its status.
    pub addresses: Vec<IpAddr>,
}

/// Those of a namespace, or of all, with these labels, by a client that asks once.
pub async fn list(
    client: &Client,
    namespace: Option<&str>,
    selector: Option<&str>,
) -> Result<Vec<Balanced>, AskError> {
    let client = client.clone();
    let services: Api<Service> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut params = ListParams::default().fields("spec.type=LoadBalancer");
    params.label_selector = selector.map(str::to_owned);
    Ok(in_time(services.list(&params)).await?.into_iter().filter_map(balanced).collect())
}

fn balanced(service: Service) -> Option<Balanced> {
    let key = convert::service_key(&service.metadata).ok()?;
    let balancer = service.status.and_then(|status| status.load_balancer).unwrap_or_default();
    let texts = balancer.ingress.into_iter().flatten().filter_map(|ingress| ingress.ip);
    Some(Balanced {
        service: key,
        class: service.spec.and_then(|spec| spec.load_balancer_class),
        addresses: texts.filter_map(|text| text.parse().ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_read_with_its_addresses() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/lb"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "x"}, {"ip": "2001:db8::1"}]}},
        });
        let expected = Balanced {
            service: "shop/web".parse().unwrap(),
            class: Some("example.com/lb".to_owned()),
            addresses: ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec(),
        };
        assert_eq!(balanced(serde_json::from_value(service).unwrap()), Some(expected));
        let waiting =
            balanced(serde_json::from_value(json!({"metadata": {"name": "web"}})).unwrap()).unwrap();
        assert_eq!((waiting.service.to_string().as_str(), waiting.addresses.len()), ("default/web", 0));
    }
}
