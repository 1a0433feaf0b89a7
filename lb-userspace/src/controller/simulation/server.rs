//! An API server that is a few values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    controller::{
        outcome::{Change as Outcome, FROM_POOL},
        tell::Telling,
        write::{Api, Write},
    },
    k8s::{watch::Change, write::WriteError},
    source::kubernetes::{Kind, Seen, fixture::seen},
};

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    None,
    /// It takes longer than the controller waits.
    Slow,
    /// The request does not arrive.
    LostBefore,
    /// The answer does not arrive.
    LostAfter,
    /// Somebody else was first.
    Conflict,
}

/// The objects, everything that happened to them, and what is to go wrong next.
#[derive(Debug, Default)]
pub(super) struct Server {
    objects: BTreeMap<(Kind, String), Object>,
    /// What watches show: an object, and whether it is gone.
    log: BTreeMap<Kind, Vec<(Value, bool)>>,
    version: u64,
    pub(super) faults: Vec<Fault>,
}

#[derive(Debug)]
struct Object {
    value: Value,
    form: u8,
    /// Grows when somebody asks for something else, or takes the status away.
    asked: u64,
}

/// What is the case when everything has settled.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    /// By uid and what is asked for: the addresses, and the version of the pool they are from.
    held: BTreeMap<(String, u64), (Vec<String>, String)>,
    /// The versions of all pools.
    pools: BTreeSet<String>,
}

impl Settlement {
    /// Whoever is there in both, asks for the same, and whose pool has not changed has the same addresses.
    pub(super) fn assert_kept(&self, later: &Self, story: &str) {
        for (service, (addresses, pool)) in &self.held {
            if let Some((now, _)) = later.held.get(service)
                && later.pools.contains(pool)
            {
                let kept = addresses.iter().all(|ip| now.contains(ip));
                assert!(kept, "{service:?} had {addresses:?} of {pool}, has {now:?}: {story}");
            }
        }
    }
}

impl Server {
    fn write(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Object)) {
        self.version += 1;
        let version = self.version;
        let object = self.objects.entry((kind, name.to_owned())).or_insert_with(|| Object {
            value: json!({"metadata": {
                "name": name, "namespace": if kind == Kind::Pool { "metallb-system" } else { "web" },
                "uid": format!("{name}-{version}"),
                "creationTimestamp": format!("2026-01-01T00:{:02}:{:02}Z", version / 60 % 60, version % 60),
            }}),
            form: u8::MAX,
            asked: version,
        });
        change(object);
        object.value["metadata"]["resourceVersion"] = json!(version.to_string());
        let shown = object.value.clone();
        self.log.entry(kind).or_default().push((shown, false));
    }

    pub(super) fn put_service(&mut self, name: u8, form: u8) {
        let name = format!("service-{name}");
        if self.objects.get(&(Kind::Service, name.clone())).is_some_and(|object| object.form == form) {
            return;
        }
        let asked = self.version + 1;
        self.write(Kind::Service, &name, |object| {
            let (spec, mut annotations) = spec(form);
            let held = &object.value["metadata"]["annotations"][FROM_POOL];
            if held.is_string() {
                annotations[FROM_POOL] = held.clone();
            }
            object.value["spec"] = spec;
            object.value["metadata"]["annotations"] = annotations;
            (object.form, object.asked) = (form, asked);
        });
    }

    pub(super) fn put_pool(&mut self, name: u8, form: u8) {
        let name = format!("pool-{name}");
        if self.objects.get(&(Kind::Pool, name.clone())).is_some_and(|object| object.form == form) {
            return;
        }
        self.write(Kind::Pool, &name, |object| {
            object.value["spec"] = json!({"addresses": POOLS[usize::from(form)]});
            object.form = form;
        });
    }

    pub(super) fn wipe(&mut self, name: u8) {
        let name = format!("service-{name}");
        if self.objects.contains_key(&(Kind::Service, name.clone())) {
            let asked = self.version + 1;
            self.write(Kind::Service, &name, |object| {
                object.value["status"] = json!({"loadBalancer": {}});
                object.asked = asked;
            });
        }
    }

    pub(super) fn delete(&mut self, kind: Kind, name: u8) {
        let prefix = if kind == Kind::Pool { "pool" } else { "service" };
        if let Some(object) = self.objects.remove(&(kind, format!("{prefix}-{name}"))) {
            self.version += 1;
            self.log.entry(kind).or_default().push((object.value, true));
        }
    }

    /// A list, and how far a watch after it has come.
    pub(super) fn list(&self, kind: Kind) -> (Vec<Seen>, usize) {
        let objects = self.objects.iter().filter(|((of, _), _)| *of == kind);
        let listed = objects.map(|(_, object)| Change::Listed(object.value.clone()));
        let all = [Change::Listing].into_iter().chain(listed).chain([Change::Complete]);
        let end = self.log.get(&kind).map_or(0, Vec::len);
        (all.map(|change| seen(kind, change)).collect(), end)
    }

    /// What a watch shows next.
    pub(super) fn since(&self, kind: Kind, from: usize, count: usize) -> (Vec<Seen>, usize) {
        let news: Vec<Seen> = self
            .log
            .get(&kind)
            .into_iter()
            .flatten()
            .skip(from)
            .take(count)
            .map(|(value, gone)| {
                let value = value.clone();
                seen(kind, if *gone { Change::Deleted(value) } else { Change::Applied(value) })
            })
            .collect();
        let end = from + news.len();
        (news, end)
    }

    pub(super) fn settlement(&self) -> Settlement {
        let version = |object: &Object| object.value["metadata"]["resourceVersion"].to_string();
        let pools = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::Pool);
        let held = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::Service);
        let held = held.filter_map(|(_, object)| {
            let meta = &object.value["metadata"];
            let annotations = &meta["annotations"];
            let pool = annotations[FROM_POOL].as_str()?.to_owned();
            // Who waits for another address or pool leaves as soon as it can.
            let shown = addresses(&object.value);
            let wishes = [
                annotations["metallb.io/address-pool"].as_str().is_none_or(|wish| wish == pool),
                annotations["metallb.io/loadBalancerIPs"].as_str().is_none_or(|wish| shown == [wish]),
            ];
            if wishes.contains(&false) {
                return None;
            }
            let pool = self.objects.get(&(Kind::Pool, pool))?;
            Some(((meta["uid"].to_string(), object.asked), (shown, version(pool))))
        });
        Settlement { held: held.collect(), pools: pools.map(|(_, object)| version(object)).collect() }
    }

    /// The addresses in the statuses of all Services.
    pub(super) fn held(&self) -> BTreeMap<String, Vec<String>> {
        let services = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::Service);
        services.map(|((_, name), object)| (name.clone(), addresses(&object.value))).collect()
    }

    pub(super) fn describe(&self) -> String {
        let lines = self.objects.iter().map(|((_, name), object)| format!("{name} {}", object.value));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn carry_out(&mut self, write: &Write) -> Result<Seen, WriteError> {
        let Write::Service { key, version, change, .. } = write else { return Err(WriteError::Gone) };
        let name = (Kind::Service, key.name().to_owned());
        let known = self.objects.get(&name).ok_or(WriteError::Gone)?;
        if known.value["metadata"]["resourceVersion"] != json!(**version) {
            return Err(WriteError::Conflict);
        }
        let before = addresses(&known.value);
        if let Outcome::Set { addresses: given, .. } = change {
            for ip in given.iter().map(|ip| ip.to_string()).filter(|ip| !before.contains(ip)) {
                let mut others = self.objects.iter().filter(|(other, _)| **other != name);
                let other = others.find(|(_, object)| addresses(&object.value).contains(&ip));
                assert!(other.is_none(), "{key} gets {ip}, which another shows:\n{}", self.describe());
            }
        }
        self.write(Kind::Service, key.name(), |object| match change {
            Outcome::Set { addresses, pool } => {
                let list: Vec<Value> =
                    addresses.iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
                object.value["status"] = json!({"loadBalancer": {"ingress": list}});
                object.value["metadata"]["annotations"][FROM_POOL] = json!(pool.as_str());
            }
            Outcome::Clear => {
                object.value["status"] = json!({"loadBalancer": {}});
                if let Some(annotations) = object.value["metadata"]["annotations"].as_object_mut() {
                    annotations.remove(FROM_POOL);
                }
            }
            Outcome::DropOldAnnotation => {}
        });
        Ok(seen(Kind::Service, Change::Applied(self.objects[&name].value.clone())))
    }
}

/// The server, as writers and watches share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Server>>);

impl Shared {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Server) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

impl Api for Shared {
    async fn carry_out(&self, write: &Write) -> Result<Seen, WriteError> {
        let fault = self.with(|server| server.faults.pop()).unwrap_or(Fault::None);
        match fault {
            Fault::None => sleep(Duration::from_millis(10)).await,
            Fault::Slow => sleep(Duration::from_secs(20)).await,
            Fault::LostBefore => return Err(WriteError::Timeout),
            Fault::LostAfter => {
                let _lost = self.with(|server| server.carry_out(write));
                return Err(WriteError::Timeout);
            }
            Fault::Conflict => {
                let Write::Service { key, .. } = write else { return Err(WriteError::Gone) };
                self.with(|server| {
                    if server.objects.contains_key(&(Kind::Service, key.name().to_owned())) {
                        server.write(Kind::Service, key.name(), |_| {});
                    }
                });
                return Err(WriteError::Conflict);
            }
        }
        self.with(|server| server.carry_out(write))
    }

    async fn record(&self, _telling: &Telling) -> Result<(), WriteError> {
        Ok(())
    }
}

/// Addresses of the forms of a pool. Some overlap, one is no address.
const POOLS: [&[&str]; 6] = [
    &["192.0.2.0/30"],
    &["192.0.2.2-192.0.2.5", "2001:db8::/126"],
    &["192.0.2.4/30"],
    &["2001:db8::2-2001:db8::6"],
    &["nonsense"],
    &["192.0.2.0/31", "2001:db8::/127"],
];

/// What the forms of a Service ask for.
fn spec(form: u8) -> (Value, Value) {
    let one = |ip: &str| json!({"type": "LoadBalancer", "clusterIPs": [ip], "ports": [{"port": 80}]});
    let four = || one("10.96.0.1");
    let both = |policy: &str| json!({"type": "LoadBalancer", "ipFamilyPolicy": policy, "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 80}]});
    match form {
        0 | 1 => (four(), json!({})),
        2 => (one("fd00::1"), json!({})),
        3 => (both("RequireDualStack"), json!({})),
        4 => (both("PreferDualStack"), json!({})),
        5 => (four(), json!({"metallb.io/loadBalancerIPs": "192.0.2.2"})),
        6 => (four(), json!({"metallb.io/address-pool": "pool-1"})),
        _ => (json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}), json!({})),
    }
}

fn addresses(object: &Value) -> Vec<String> {
    let list = object["status"]["loadBalancer"]["ingress"].as_array();
    list.into_iter().flatten().filter_map(|entry| Some(entry["ip"].as_str()?.to_owned())).collect()
}
