//! A table for each case, a row for each system.

use super::record::Record;
use crate::bench::document::Page;
use crate::bench::stats::quantile;
use crate::failover::{Case, Kind, Way};

const HEAD: [&str; 13] = [
    "system",
    "trials",
    "moved",
    "first answer, ms: min",
    "p50",
    "p90",
    "p99",
    "max",
    "datagram, ms: p50",
    "p99",
    "silence, ms",
    "lost",
    "two owners, ms",
];

/// Adds the table of a case, if there is anything to show.
pub(super) fn add(page: &mut Page, case: &Case, records: &[Record]) {
    let rows: Vec<_> =
        Kind::ALL.into_iter().filter_map(|kind| row(kind, &of(records, kind, case.name))).collect();
    if !rows.is_empty() {
        page.add(&format!("\n### {} (`{}`)\n", headline(case.what), case.name));
        page.table(&HEAD, rows);
    }
    for kind in Kind::ALL {
        let silent: Vec<_> = of(records, kind, case.name).into_iter().filter_map(Record::silent_ms).collect();
        if !silent.is_empty() {
            page.add(&format!(
                "\n{}: the node's own table answers for nothing after {:.1} ms (p50), {:.1} ms at most.",
                kind.what(),
                quantile(&silent, 0.5),
                quantile(&silent, 1.0)
            ));
        }
    }
}

/// The trials of a case in a system.
pub(super) fn of<'a>(records: &'a [Record], kind: Kind, case: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.system == kind.name() && record.case == case).collect()
}

/// The first answers of those trials in which another node answered; milliseconds.
pub(super) fn firsts(records: &[&Record], ways: [Way; 2]) -> Vec<f64> {
    records.iter().filter_map(|record| record.first_ms(ways)).collect()
}

fn row(kind: Kind, records: &[&Record]) -> Option<Vec<String>> {
    if records.is_empty() {
        return None;
    }
    let (asked, data) = (firsts(records, [Way::Arp, Way::Ns]), firsts(records, [Way::Udp4, Way::Udp6]));
    let of = |values: &[f64], share| {
        if values.is_empty() { "–".to_owned() } else { format!("{:.1}", quantile(values, share)) }
    };
    let worst_ms = |of: fn(&Record) -> u64| {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of some minutes")]
        let ms = records.iter().map(|record| of(record)).max().unwrap_or_default() as f64 / 1000.0;
        format!("{ms:.1}")
    };
    let lost = records.iter().map(|record| record.worst(|seen| seen.unanswered)).max().unwrap_or_default();
    let row = [
        kind.what().to_owned(),
        records.len().to_string(),
        asked.len().to_string(),
        of(&asked, 0.0),
        of(&asked, 0.5),
        of(&asked, 0.9),
        of(&asked, 0.99),
        of(&asked, 1.0),
        of(&data, 0.5),
        of(&data, 0.99),
        worst_ms(|record| record.worst(|seen| seen.gap_us)),
        lost.to_string(),
        worst_ms(|record| record.worst(|seen| seen.both_us)),
    ];
    Some(row.to_vec())
}

fn headline(what: &str) -> String {
    let mut letters = what.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::{CASES, Seen, Ways};

    #[test]
    fn a_row_has_the_distribution_and_the_worst() {
        let record = |first_us, gap_us| {
            let seen = Seen { first_us, gap_us, unanswered: 4, both_us: 2000, ..Seen::default() };
            let ways = [Way::Arp, Way::Ns, Way::Udp4, Way::Udp6].map(|way| (way, seen.clone()));
            Record::new(Kind::Keepalived, &CASES[0], Ways::from(ways))
        };
        let records = [record(Some(10_000), 11_000), record(Some(30_000), 31_500), record(None, 5000)];
        let row = row(Kind::Keepalived, &of(&records, Kind::Keepalived, CASES[0].name)).unwrap();
        let expected = ["3", "2", "10.0", "20.0", "28.0", "29.8", "30.0", "20.0", "29.8", "31.5", "4", "2.0"]
            .map(ToOwned::to_owned);
        assert_eq!(row[1..], expected);
        assert!(super::row(Kind::Barelb, &of(&records, Kind::Barelb, CASES[0].name)).is_none());
        assert_eq!(HEAD.len(), row.len());
        assert_eq!(headline("the link"), "The link");
    }
}
