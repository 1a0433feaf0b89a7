//! Kubernetes objects: the only place that knows their types.
//!
//! [`crd`] are MetalLB's own kinds, [`convert`] turns objects of every kind into values of lb-core, [`migrate`] makes
//! objects of a v0.9 document, [`watch`] and [`mod@write`] are the ways to and from an API server, [`lease`] and
//! [`member`] read and write leases, [`event`] records events, [`l2_status`] says who announces what, [`secret`] is what
//! the agents' key is made of, [`mod@drain`] asks
//! a node to hand over, [`raw`] is text by its path, [`time`] writes times as the API does, and [`words`]
//! says what errors say. The rest of the program sees
//! lb-core's values only, wherever an object came from.

pub mod agents;
pub mod client;
pub mod convert;
pub mod crd;
pub mod drain;
pub mod event;
pub mod l2_status;
pub mod lease;
pub mod member;
pub mod migrate;
pub mod raw;
pub mod secret;
pub mod services;
pub mod time;
pub mod watch;
pub mod words;
pub mod write;
