//! Which form of each object is in force.
//!
//! An object takes effect as a whole or not at all. Each has the form that is written now and the form that was in
//! force before, and [`settle`] chooses between them:
//!
//! 1. What is written and has no error is in force.
//! 2. Where something written has an error, what was in force before stays, and the error is told.
//! 3. Where two objects contradict each other, the one in force before stands, whatever they are called and
//!    wherever they are written. Of two that changed, the earlier one in the list stands.
//!
//! The memory is the caller's: what is in force now is what it gives as `former` the next time. Asked again with
//! that, `settle` decides the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Config, ConfigError, LegacyConfig, RawAdvertisement, RawPool, validate::Check};
use crate::{
    ids::{PoolName, ServiceKey},
    pool::Range,
    problem::{Effect, Place, Problem},
};

#[cfg(test)]
mod tests;

/// An object of the configuration in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An address pool.
    Pool(Arc<RawPool>),
    /// An advertisement.
    Advertisement(Arc<RawAdvertisement>),
    /// A v0.9 document: many pools, one object.
    Legacy(Arc<LegacyConfig>),
}

impl Piece {
    fn pools(&self) -> &[RawPool] {
        match self {
            Self::Pool(pool) => std::slice::from_ref(pool),
            Self::Advertisement(_) => &[],
            Self::Legacy(legacy) => &legacy.pools,
        }
    }

    fn advertisements(&self) -> &[RawAdvertisement] {
        match self {
            Self::Pool(_) => &[],
            Self::Advertisement(ad) => std::slice::from_ref(ad),
            Self::Legacy(legacy) => &legacy.advertisements,
        }
    }

    /// Whether both say the same, wherever they are written.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let pool = |raw: &RawPool| RawPool { place: Place::default(), ..raw.clone() };
        let ad = |raw: &RawAdvertisement| RawAdvertisement { place: Place::default(), ..raw.clone() };
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.pools().iter().map(pool).eq(other.pools().iter().map(pool))
            && self.advertisements().iter().map(ad).eq(other.advertisements().iter().map(ad))
    }
}

/// An object with the forms it can have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    /// As it is written now; `None`: it is there and can't be read, which the reader tells.
    pub written: Option<Piece>,
    /// As it was in force before.
    pub former: Option<Piece>,
}

impl Candidate {
    /// The form that is in force.
    pub fn form(&self, stands: Stands) -> Option<&Piece> {
        match stands {
            Stands::Written => self.written.as_ref(),
            Stands::Former => self.former.as_ref(),
            Stands::Nothing => None,
        }
    }

    fn after(&self, stands: Stands) -> Self {
        Self { written: self.written.clone(), former: self.form(stands).cloned() }
    }
}

/// The form of an object that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stands {
    /// What is written.
    Written,
    /// What was in force before.
    Former,
    /// None: it was never without an error.
    Nothing,
}

impl Stands {
    /// What an error means for an object of which this is in force.
    pub fn effect(self) -> Effect {
        match self {
            Self::Written => Effect::AsSaid,
            Self::Former => Effect::LastGood,
            Self::Nothing => Effect::LeftOut,
        }
    }
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Pools and advertisements, free of contradictions.
    pub config: Config,
    /// For each candidate the form that is in force.
    pub stands: Vec<Stands>,
    /// What is wrong with what is written, in the order of the candidates.
    pub problems: Vec<Problem>,
}

/// Decides. `foreign` are the nodes' own addresses, which are never given out. `in_use` are the addresses that
/// Services have: a v0.9 document that no longer has one of them is refused, as v0.9 refuses it.
///
/// Each object is named once; their order must not depend on chance.
pub fn settle(
    candidates: &[Candidate],
    foreign: &[IpAddr],
    in_use: &BTreeMap<IpAddr, ServiceKey>,
) -> Settled {
    let mut settled = settle_once(candidates, foreign, in_use);
    // What was refused because of something that was refused later gets another chance, and messages tell of what is
    // in force in the end. Every repetition but the last accepts at least one object more, so it ends.
    while settled.stands.iter().any(|stands| *stands != Stands::Written) {
        let pairs = candidates.iter().zip(&settled.stands);
        let in_force: Vec<Candidate> = pairs.map(|(candidate, stands)| candidate.after(*stands)).collect();
        let again = settle_once(&in_force, foreign, in_use);
        let same = again.stands == settled.stands;
        settled = again;
        if same {
            break;
        }
    }
    settled
}

fn settle_once(
    candidates: &[Candidate],
    foreign: &[IpAddr],
    in_use: &BTreeMap<IpAddr, ServiceKey>,
) -> Settled {
    let mut trials: Vec<Trial<'_>> = candidates.iter().map(Trial::new).collect();
    // Every round but the last takes a form away from at least one object, so it ends.
    loop {
        let config = judge(candidates, &mut trials, foreign);
        for trial in &mut trials {
            trial.keep_addresses(&config, in_use);
        }
        let mut again = false;
        for trial in &mut trials {
            again |= trial.withdraw();
        }
        if !again {
            let stands = trials.iter().map(|trial| trial.stands).collect();
            let problems = trials.into_iter().flat_map(Trial::into_problems).collect();
            return Settled { config, stands, problems };
        }
    }
}

/// An object on the way to the form that holds.
struct Trial<'a> {
    candidate: &'a Candidate,
    /// What is written is what was in force.
    unchanged: bool,
    stands: Stands,
    /// What was found in this round.
    found: Vec<Problem>,
    /// Why what is written was refused.
    refusal: Vec<Problem>,
}

impl<'a> Trial<'a> {
    fn new(candidate: &'a Candidate) -> Self {
        let (written, former) = (candidate.written.as_ref(), candidate.former.as_ref());
        let unchanged = written.zip(former).is_some_and(|(written, former)| written.says_the_same(former));
        let stands = match (written, former) {
            (Some(_), _) => Stands::Written,
            (None, Some(_)) => Stands::Former,
            (None, None) => Stands::Nothing,
        };
        Self { candidate, unchanged, stands, found: Vec::new(), refusal: Vec::new() }
    }

    fn form(&self) -> Option<&'a Piece> {
        self.candidate.form(self.stands)
    }

    /// Who is judged first stands: what is in force, then what changed, then what is new.
    fn turn(&self) -> u8 {
        match self.stands {
            Stands::Former => 0,
            Stands::Written if self.unchanged => 0,
            Stands::Written if self.candidate.former.is_some() => 1,
            Stands::Written | Stands::Nothing => 2,
        }
    }

    fn has_error(&self) -> bool {
        self.found.iter().any(|problem| !problem.is_warning())
    }

    /// Refuses a v0.9 document that takes an address from its pools that a Service has.
    fn keep_addresses(&mut self, config: &Config, in_use: &BTreeMap<IpAddr, ServiceKey>) {
        let (Some(Piece::Legacy(written)), Some(Piece::Legacy(former))) =
            (self.form(), &self.candidate.former)
        else {
            return;
        };
        // A document with an error has lost its pools by that: to fix it is all there is to do.
        if self.unchanged || self.stands == Stands::Former || self.has_error() {
            return;
        }
        let entries = former.pools.iter().flat_map(|pool| &pool.addresses);
        let ranges: Vec<Range> = entries.filter_map(|entry| entry.parse().ok()).collect();
        let had = |ip: &IpAddr| ranges.iter().any(|range| range.contains(*ip));
        let lost = in_use.iter().find(|(ip, _)| had(ip) && config.pool_of(**ip).is_none());
        if let Some((ip, service)) = lost {
            let error = ConfigError::InUse { ip: *ip, service: service.clone() };
            self.found.push(Problem::new(written.place.field("address-pools"), error));
        }
    }

    /// Gives up the present form if it has an error; tells whether it did.
    fn withdraw(&mut self) -> bool {
        if !self.has_error() {
            return false;
        }
        let former = self.candidate.former.is_some() && !self.unchanged;
        let next = if self.stands == Stands::Written && former { Stands::Former } else { Stands::Nothing };
        if self.stands == Stands::Written {
            self.refusal = std::mem::take(&mut self.found);
        }
        self.stands = next;
        true
    }

    /// What is wrong with what is written: errors if it was refused, else warnings.
    fn into_problems(self) -> Vec<Problem> {
        let effect = self.stands.effect();
        match self.stands {
            Stands::Written => self.found,
            Stands::Former | Stands::Nothing => self
                .refusal
                .into_iter()
                .map(|problem| if problem.is_warning() { problem } else { Problem { effect, ..problem } })
                .collect(),
        }
    }
}

/// Judges the present forms of all objects. A pool with an error takes no address from others.
fn judge(candidates: &[Candidate], trials: &mut [Trial<'_>], foreign: &[IpAddr]) -> Config {
    let forms = candidates.iter().flat_map(|candidate| candidate.written.iter().chain(&candidate.former));
    let mut check = Check::new(forms.flat_map(Piece::pools));
    let mut config = Config::default();
    let mut order: Vec<&mut Trial<'_>> = trials.iter_mut().collect();
    order.sort_by_key(|trial| trial.turn());
    for trial in order {
        trial.found.clear();
        let mut added = BTreeSet::new();
        for raw in trial.form().map(Piece::pools).unwrap_or_default() {
            if let Some(pool) = check.pool(raw, &config, foreign) {
                added.insert(pool.name.clone());
                config.pools.insert(pool.name.clone(), pool);
            } else if let Ok(name) = PoolName::new(&raw.name)
                && !config.pools.contains_key(&name)
            {
                added.insert(name);
            }
        }
        trial.found.append(&mut check.problems);
        if trial.has_error() {
            check.give_back(&added);
            config.pools.retain(|name, _| !added.contains(name));
        }
    }
    for trial in trials {
        if let Some(Piece::Legacy(legacy)) = trial.form() {
            trial.found.extend(legacy.warnings.iter().cloned());
        }
        for raw in trial.form().map(Piece::advertisements).unwrap_or_default() {
            config.advertisements.extend(check.advertisement(raw, &config));
        }
        trial.found.append(&mut check.problems);
    }
    config
}
