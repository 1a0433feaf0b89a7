//! What an error and its causes say.

use std::error::Error;

/// All of it in one line. Many of kube's errors repeat what they follow from: that is said once.
pub fn in_a_line(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        let words = words.trim();
        if !said.contains(words) {
            said = format!("{said}: {words}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let error =
            anyhow!("connection refused\n").context("can't connect: connection refused").context("can't ask");
        assert_eq!(in_a_line(error.as_ref()), "can't ask: can't connect: connection refused");
    }
}
