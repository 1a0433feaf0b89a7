//! Which links are cut between this node and another one that others hear: what somebody should look at, told once for
//! each time that it is so.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Status;

/// What lasts for less is told of by the counts alone.
const LASTS: Duration = Duration::from_secs(5);
/// A link that is whole for so long is whole again. One that is cut by turns is cut once.
const CALM: Duration = Duration::from_secs(10);

/// Cuts by session, whatever a session is known by.
#[derive(Debug, Clone)]
pub struct Cuts<K> {
    known: BTreeMap<K, Episode>,
}

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutNews {
    /// Nothing has got through between the two nodes for a while, and others hear the other one.
    Cut,
    /// It has got through again for a while.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Episode {
    /// Only others hear the peer, since then.
    Began(Duration),
    /// That was told.
    Told,
    /// It is heard again, since then.
    Ends(Duration),
}

impl<K> Default for Cuts<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Cuts<K> {
    /// Looks at all sessions there are; what is new of them.
    pub fn look(&mut self, sessions: &BTreeMap<K, Status>, now: Duration) -> Vec<(K, CutNews)> {
        self.known.retain(|session, _| sessions.contains_key(session));
        let mut news = Vec::new();
        for (session, status) in sessions {
            let (next, new) = next(self.known.get(session).copied(), *status, now);
            match next {
                Some(episode) => {
                    self.known.insert(session.clone(), episode);
                }
                None => {
                    self.known.remove(session);
                }
            }
            news.extend(new.map(|new| (session.clone(), new)));
        }
        news
    }

    /// Sessions whose cut was told, and that are not whole again.
    pub fn told(&self) -> impl Iterator<Item = &K> {
        let told = self.known.iter().filter(|(_, episode)| !matches!(episode, Episode::Began(_)));
        told.map(|(session, _)| session)
    }
}

fn next(before: Option<Episode>, status: Status, now: Duration) -> (Option<Episode>, Option<CutNews>) {
    use Episode::{Began, Ends, Told};
    match (before, status) {
        (Some(Began(since)), Status::Relayed) if now >= since + LASTS => (Some(Told), Some(CutNews::Cut)),
        (None, Status::Relayed) => (Some(Began(now)), None),
        // Between two words of others the peer is suspected.
        (Some(Began(since)), Status::Relayed | Status::Suspect) => (Some(Began(since)), None),
        (None | Some(Began(_)), _) => (None, None),
        (Some(Ends(since)), Status::Up) if now >= since + CALM => (None, Some(CutNews::Whole)),
        (Some(Ends(since)), Status::Up) => (Some(Ends(since)), None),
        (Some(Told), Status::Up) => (Some(Ends(now)), None),
        // Of one that is down it is not known whether the link is cut.
        (Some(Told | Ends(_)), Status::Relayed | Status::Suspect | Status::Down | Status::Unproven) => {
            (Some(Told), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at one session with these statuses; what was told, and at which second.
    fn told(statuses: &[(Status, usize)]) -> Vec<(usize, CutNews)> {
        let mut cuts = Cuts::default();
        let each = statuses.iter().flat_map(|(status, times)| std::iter::repeat_n(*status, *times));
        let look = |(second, status): (usize, Status)| {
            let now = Duration::from_secs(u64::try_from(second).unwrap());
            let news = cuts.look(&BTreeMap::from([("b", status)]), now);
            news.into_iter().map(move |(_, news)| (second, news))
        };
        each.enumerate().flat_map(look).collect()
    }

    #[test]
    fn a_cut_that_lasts_is_told_once_and_its_end_too() {
        let cut = [(Status::Up, 5), (Status::Relayed, 30), (Status::Up, 30)];
        assert_eq!(told(&cut), [(10, CutNews::Cut), (45, CutNews::Whole)]);
        let suspected = [(Status::Relayed, 1), (Status::Suspect, 2), (Status::Relayed, 30)];
        assert_eq!(told(&suspected), [(5, CutNews::Cut)]);
    }

    #[test]
    fn what_is_short_or_no_cut_is_not_told() {
        assert_eq!(told(&[(Status::Relayed, 5), (Status::Up, 60)]), []);
        assert_eq!(told(&[(Status::Relayed, 4), (Status::Down, 60)]), []);
        assert_eq!(told(&[(Status::Suspect, 60)]), []);
        let by_turns = [(Status::Relayed, 2), (Status::Up, 1)].repeat(20);
        assert_eq!(told(&by_turns), []);
    }

    #[test]
    fn a_link_that_is_cut_by_turns_is_told_once() {
        for between in [Status::Up, Status::Down] {
            let by_turns = [(Status::Relayed, 8), (between, 8)].repeat(20);
            assert_eq!(told(&by_turns), [(5, CutNews::Cut)], "{between:?}");
        }
    }

    #[test]
    fn a_session_that_is_no_more_is_forgotten() {
        let mut cuts = Cuts::default();
        let relayed = BTreeMap::from([("b", Status::Relayed), ("c", Status::Up)]);
        cuts.look(&relayed, Duration::ZERO);
        assert_eq!(cuts.told().count(), 0);
        assert_eq!(cuts.look(&relayed, LASTS), [("b", CutNews::Cut)]);
        assert_eq!(cuts.told().collect::<Vec<_>>(), [&"b"]);
        assert_eq!(cuts.look(&BTreeMap::new(), LASTS * 2), []);
        assert_eq!(cuts.told().count(), 0);
        assert_eq!(cuts.look(&relayed, LASTS * 3), [], "another one begins anew");
    }
}
