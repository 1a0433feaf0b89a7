//! Documents of the v0.9 `ConfigMap`. Input: the text under the key `config`.

use lb_core::config::{Config, LegacyDocument};
use lb_core::problem::{Place, Problem};

use crate::pool::disjoint;

/// A document is refused with reasons, or becomes a configuration that keeps its promises; twice the same.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let first = read(text);
    assert_eq!(first, read(text), "the same text, read twice");
    match first {
        Some(Ok((config, warnings))) => {
            disjoint(&config);
            assert!(warnings.iter().all(Problem::is_warning));
        }
        Some(Err(problems)) => {
            assert!(problems.iter().any(|problem| !problem.is_warning()), "refused without a reason");
            problems.iter().for_each(|problem| assert!(!problem.to_string().is_empty()));
        }
        None => {}
    }
}

type Read = Result<(Config, Vec<Problem>), Vec<Problem>>;

/// None: not even YAML, or with an unknown key.
fn read(text: &str) -> Option<Read> {
    let document: LegacyDocument = serde_saphyr::from_str(text).ok()?;
    let place = Place { object: "ConfigMap metallb-system/config".to_owned(), ..Place::default() };
    let legacy = match document.into_raw(&place) {
        Ok(legacy) => legacy,
        Err(problems) => return Some(Err(problems)),
    };
    Some(Config::validate_strict(&legacy.pools, &legacy.advertisements, &[]))
}
