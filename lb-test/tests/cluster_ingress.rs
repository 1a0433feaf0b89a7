//! L5: Traefik behind an address, as users have it: HTTPS with a certificate from a Secret, and two host names on one
//! address that lead to two Services, one by an Ingress and one by an IngressRoute. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use anyhow::Context;
use lb_test::cluster::services::service;
use lb_test::cluster::{Certificate, Controller, Site, Traefik};
use lb_test::lab::web::{WebServer, host};
use serde_json::{Value, json};

const HOSTS: [&str; 2] = ["one.example", "two.example"];
/// The Service `web` has the addresses before.
const VIPS: [&str; 2] = ["192.0.2.101", "2001:db8::101"];

struct Front {
    site: Site,
    ingress: Vec<Traefik>,
    certificate: Certificate,
    _backends: Vec<WebServer>,
}

/// A Service with one endpoint, as Traefik 3.0 looks for it.
fn backend(name: &str, endpoint: IpAddr, port: u16) -> [Value; 2] {
    let ports = json!([{"name": "http", "port": 80, "targetPort": port}]);
    let subsets = json!([{"addresses": [{"ip": endpoint}], "ports": [{"name": "http", "port": port}]}]);
    [
        service(name, &json!({}), &json!({"type": "ClusterIP", "ports": ports})),
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}, "subsets": subsets}),
    ]
}

fn routes() -> [Value; 2] {
    let to_one = json!({"service": {"name": "one", "port": {"number": 80}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": to_one}]);
    let to_two =
        json!({"kind": "Rule", "match": "Host(`two.example`)", "services": [{"name": "two", "port": 80}]});
    [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "one"},
            "spec": {
                "tls": [{"hosts": HOSTS, "secretName": "front"}],
                "rules": [{"host": "one.example", "http": {"paths": paths}}],
            },
        }),
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "two"},
            "spec": {"entryPoints": ["websecure"], "routes": [to_two], "tls": {"secretName": "front"}},
        }),
    ]
}

impl Front {
    fn new() -> Self {
        let site = Site::start().unwrap();
        let certificate = Certificate::new(&HOSTS).unwrap();
        let [file, key] = [certificate.certificate(), certificate.key()];
        let [file, key] = [&file, &key].map(|path| path.to_str().unwrap());
        site.plane.install_traefik().unwrap();
        site.plane.kubectl(&["create", "secret", "tls", "front", "--cert", file, "--key", key]).unwrap();
        // Each on a node of its own, reached by another family.
        let [one, two] = [0, 1].map(|index| &site.machines[index]);
        let backends = [("one", one, 8081), ("two", two, 8082)]
            .map(|(name, node, port)| WebServer::start(node.cable.a.namespace(), name, port).unwrap());
        let fields = json!({
            "ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": "Local",
            "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
        });
        let objects = [
            &[service("traefik", &json!({}), &fields)][..],
            &backend("one", one.addresses()[0], 8081),
            &backend("two", two.addresses()[1], 8082),
            &routes(),
        ];
        site.plane.apply_all(&objects.concat()).unwrap();
        let start = |machine: &lb_test::cluster::Machine| {
            Traefik::start(&site.plane, machine.cable.a.namespace()).unwrap()
        };
        let ingress = site.machines.iter().map(start).collect();
        let front = Self { site, ingress, certificate, _backends: backends.into() };
        front.place(&[0, 1]);
        front.site.plane.becomes(&front.site.controller, "traefik", &VIPS).unwrap();
        front
    }

    /// Lets exactly these nodes have an endpoint of Traefik.
    fn place(&self, nodes: &[usize]) {
        let ports = json!([
            {"name": "http", "port": Traefik::HTTP, "protocol": "TCP"},
            {"name": "https", "port": Traefik::HTTPS, "protocol": "TCP"},
        ]);
        let mut slices = self.site.slices("traefik", Traefik::HTTPS, nodes);
        for slice in &mut slices {
            slice["ports"] = ports.clone();
        }
        self.site.plane.apply_all(&slices).unwrap();
    }

    /// What the client gets at `URL` when its host name has this address.
    fn fetch(&self, url: &str, vip: IpAddr, trusted: &Certificate) -> anyhow::Result<String> {
        let (scheme, name) = url.split_once("://").unwrap();
        let port = if scheme == "https" { 443 } else { 80 };
        let resolve = format!("{name}:{port}:{}", host(vip));
        let authority = trusted.authority();
        let arguments = ["--silent", "--show-error", "--fail", "--max-time", "10", "--resolve", &resolve];
        let trust = ["--cacert", authority.to_str().unwrap(), url];
        self.site.client.a.namespace().exec("curl", &[&arguments[..], &trust].concat())
    }

    /// Each host name leads to its own Service over either family, whichever node owns the address.
    fn serves(&self) {
        for vip in VIPS.map(|vip| vip.parse().unwrap()) {
            for (url, name) in [
                ("https://one.example", "one"),
                ("https://two.example", "two"),
                ("http://one.example", "one"),
            ] {
                let expected = format!("{name} serves http://{name}.example/ to ");
                let page = self.site.plane.wait_for(Controller::PATIENCE, "no page", |_| {
                    let page = self.fetch(url, vip, &self.certificate)?;
                    anyhow::ensure!(page.starts_with(&expected), "{page}");
                    Ok(Some(page))
                });
                page.with_context(|| format!("{url} at {vip}\n{}", self.logs())).unwrap();
            }
        }
    }

    fn logs(&self) -> String {
        self.ingress.iter().map(Traefik::tail).chain([self.site.logs()]).collect::<Vec<_>>().join("\n")
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_ingress_serves_two_hosts_by_https_and_sees_the_clients_address() {
    let mut front = Front::new();
    let vips: [IpAddr; 2] = VIPS.map(|vip| vip.parse().unwrap());
    let owner = front.site.owner_of(&vips).unwrap();
    front.serves();
    for client in front.site.client_addresses() {
        let log = front.ingress[owner].access_log();
        assert!(log.lines().any(|line| line.starts_with(&format!("{client} - "))), "no {client} in {log}");
    }
    assert_eq!(front.ingress[1 - owner].access_log(), "", "with the policy Local only the owner serves");

    // The certificate counts: another authority's clients refuse it, and a name that has no route gets none.
    let stranger = Certificate::new(&HOSTS).unwrap();
    for vip in vips {
        let refused = front.fetch("https://one.example", vip, &stranger).unwrap_err().to_string();
        assert!(refused.contains("SSL certificate problem"), "{refused}");
        let unknown = front.fetch("http://three.example", vip, &front.certificate).unwrap_err().to_string();
        assert!(unknown.contains("404"), "{unknown}");
    }

    // Its Traefik dies, and the endpoint with it: the address moves to the node that has another one.
    front.ingress[owner].process().kill().unwrap();
    front.place(&[1 - owner]);
    let moved = front.site.plane.wait_for(Controller::PATIENCE, "the address does not move", |_| {
        Ok((front.site.owner_of(&vips)? == 1 - owner).then_some(()))
    });
    moved.unwrap();
    front.serves();
    assert!(front.ingress[1 - owner].access_log().lines().count() >= 6);
}
