//! What the agent has taken in of the objects.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Intake {
    updates: Counter,
    valid: Gauge,
}

impl Intake {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "barelb_agent_updates",
            "Changes of objects that watches have shown, their first lists among them",
            self.updates.clone(),
        );
        registry.register(
            "barelb_agent_configuration_valid",
            "1 if all objects are in force as they are written, 0 if a part is not, or while none was read",
            self.valid.clone(),
        );
    }

    pub(super) fn updated(&self, updates: u64) {
        self.updates.inc_by(updates);
    }

    pub(super) fn valid(&self, valid: bool) {
        self.valid.set(valid.into());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn updates_add_up_and_the_last_word_about_the_configuration_counts() {
        let (mut registry, intake) = (Registry::default(), Intake::default());
        intake.register(&mut registry);
        intake.updated(5);
        intake.updated(2);
        for (valid, shown) in [(true, 1), (false, 0), (true, 1)] {
            intake.valid(valid);
            let mut text = String::new();
            text::encode(&mut text, &registry).unwrap();
            assert!(text.contains("\nbarelb_agent_updates_total 7\n"), "{text}");
            assert!(text.contains(&format!("\nbarelb_agent_configuration_valid {shown}\n")), "{text}");
        }
    }
}
