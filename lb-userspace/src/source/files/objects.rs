//! All objects in force, each once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use lb_core::{
    config::{LegacyConfig, RawAdvertisement, RawPool},
    eligibility::{Endpoint, Endpoints, Node},
    ids::{NodeName, ServiceKey},
    problem::Place,
    request::ServiceSpec,
    selector::Labels,
};

use super::object::{Content, Object, ObjectId};
use crate::source::problem::{ObjectError, Problem};

/// A Service with the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcedService {
    /// What it says.
    pub spec: Arc<ServiceSpec>,
    file: Arc<str>,
    document: u32,
}

/// Everything a directory says.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Services.
    pub services: BTreeMap<ServiceKey, SourcedService>,
    /// Pools, in order of file name and place in the file.
    pub pools: Vec<Arc<RawPool>>,
    /// Advertisements, in the same order.
    pub advertisements: Vec<Arc<RawAdvertisement>>,
    /// The v0.9 `ConfigMap`, or why it is invalid. `None`: there is none.
    pub legacy: Option<Arc<Result<LegacyConfig, Vec<Problem>>>>,
    /// Nodes. Empty: none are listed, and this node is alone.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Endpoints of Services that have an `EndpointSlice`.
    pub endpoints: BTreeMap<ServiceKey, Endpoints>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// What is wrong with the files, in order of file name and document.
    pub problems: Vec<Problem>,
    /// Whether every file could be read in whole: if not, objects may be missing that are still wanted.
    pub complete: bool,
}

impl Objects {
    /// Collects objects in the order in which they count: the first of a name stays.
    pub(super) fn collect<'a>(objects: impl Iterator<Item = (&'a Arc<str>, &'a Object)>) -> Self {
        let mut all = Self { complete: true, ..Self::default() };
        let mut seen: BTreeMap<&ObjectId, (&Arc<str>, u32)> = BTreeMap::new();
        let mut endpoints: BTreeMap<&ServiceKey, Vec<Endpoint>> = BTreeMap::new();
        for (file, object) in objects {
            let first = match &object.id {
                // Services are looked up where they are kept.
                ObjectId::Service(key) => {
                    all.services.get(key).map(|first| (Arc::clone(&first.file), first.document))
                }
                ObjectId::Other { .. } => match seen.entry(&object.id) {
                    Entry::Vacant(free) => {
                        free.insert((file, object.document));
                        None
                    }
                    Entry::Occupied(first) => Some((Arc::clone(first.get().0), first.get().1)),
                },
            };
            match first {
                Some(first) => all.problems.push(duplicate(file, object, &first)),
                None => all.add(file, object, &mut endpoints),
            }
        }
        let known =
            |(key, list): (&ServiceKey, Vec<Endpoint>)| (key.clone(), Endpoints::from_endpoints(list));
        all.endpoints = endpoints.into_iter().map(known).collect();
        all
    }

    fn add<'a>(
        &mut self,
        file: &Arc<str>,
        object: &'a Object,
        endpoints: &mut BTreeMap<&'a ServiceKey, Vec<Endpoint>>,
    ) {
        match (&object.content, &object.id) {
            (Content::Service(spec), ObjectId::Service(key)) => {
                let (spec, file) = (Arc::clone(spec), Arc::clone(file));
                self.services.insert(key.clone(), SourcedService { spec, file, document: object.document });
            }
            (Content::Pool(pool), _) => self.pools.push(Arc::clone(pool)),
            (Content::Advertisement(ad), _) => self.advertisements.push(Arc::clone(ad)),
            (Content::Legacy(legacy), _) => self.legacy = Some(Arc::clone(legacy)),
            (Content::Node(name, node), _) => {
                self.nodes.insert(name.clone(), Node::clone(node));
            }
            (Content::Endpoints(service, list), _) => {
                endpoints.entry(service).or_default().extend(list.iter().cloned());
            }
            (Content::Namespace(labels), ObjectId::Other { name, .. }) => {
                self.namespaces.insert(name.clone(), Labels::clone(labels));
            }
            // The reader gives a Service the id of one, and everything else another.
            (Content::Service(_), ObjectId::Other { .. }) | (Content::Namespace(_), ObjectId::Service(_)) => {
            }
        }
    }

    /// Where a Service was read; a Service that is not there has a place without a file.
    pub fn place(&self, key: &ServiceKey) -> Place {
        let place = Place::service(key);
        match self.services.get(key) {
            Some(service) => Place {
                file: Some(service.file.as_ref().to_owned()),
                document: Some(service.document),
                ..place
            },
            None => place,
        }
    }

    /// Adds file and document to a problem with a Service that a plan found, and turns it into one of ours.
    pub fn located(&self, problem: lb_core::problem::Problem) -> Problem {
        let mut problem = Problem::from(problem);
        if problem.place.file.is_none()
            && let Some(key) = problem.place.object.strip_prefix("Service ").and_then(|key| key.parse().ok())
        {
            problem.place = self.place(&key).field(std::mem::take(&mut problem.place.field));
        }
        problem
    }
}

fn duplicate(file: &Arc<str>, object: &Object, first: &(Arc<str>, u32)) -> Problem {
    let name = match &object.id {
        ObjectId::Service(key) => format!("Service {key}"),
        ObjectId::Other { kind, namespace, name } if namespace.is_empty() => format!("{kind} {name}"),
        ObjectId::Other { kind, namespace, name } => format!("{kind} {namespace}/{name}"),
    };
    let at = |file: &Arc<str>, document| Place {
        file: Some(file.as_ref().to_owned()),
        document: Some(document),
        ..Place::default()
    };
    let place = Place { object: name, ..at(file, object.document) };
    Problem::new(place, ObjectError::Duplicate { first: at(&first.0, first.1) })
}
