//! The last good version of every object.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Config, RawAdvertisement, RawPool};
use crate::problem::Problem;

/// Remembers each pool and advertisement as it was when nothing was wrong with it. While an object's present
/// version has an error, its last good one stays in force; the error is reported every time. An object that is
/// deleted is forgotten.
#[derive(Debug, Clone, Default)]
pub struct LastGood {
    pools: BTreeMap<String, RawPool>,
    advertisements: BTreeMap<String, RawAdvertisement>,
}

impl LastGood {
    /// [`Config::validate`] with memory. The problems are those of what is written now.
    pub fn validate(
        &mut self,
        pools: &[RawPool],
        advertisements: &[RawAdvertisement],
        foreign: &[IpAddr],
    ) -> (Config, Vec<Problem>) {
        let (config, problems) = Config::validate(pools, advertisements, foreign);
        let bad = |object: &str| problems.iter().any(|p| !p.is_warning() && p.place.object == object);
        let pools_now = settle(&mut self.pools, pools, |pool| (&pool.name, bad(&pool.place.object)));
        let ads_now =
            settle(&mut self.advertisements, advertisements, |ad| (&ad.name, bad(&ad.place.object)));
        if pools_now == pools && ads_now == advertisements {
            return (config, problems);
        }
        (Config::validate(&pools_now, &ads_now, foreign).0, problems)
    }
}

/// What is in force for each object, in the order of what is written; `look` tells name and badness.
fn settle<'a, T: Clone>(
    memory: &mut BTreeMap<String, T>,
    written: &'a [T],
    look: impl Fn(&'a T) -> (&'a String, bool),
) -> Vec<T> {
    let former = std::mem::take(memory);
    let mut in_force = Vec::with_capacity(written.len());
    for object in written {
        let (name, bad) = look(object);
        let version = if bad { former.get(name) } else { Some(object) };
        if let Some(good) = version {
            memory.insert(name.clone(), good.clone());
        }
        in_force.push(version.unwrap_or(object).clone());
    }
    in_force
}
