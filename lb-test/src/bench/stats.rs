//! Medians, and ratios with their spread.
#![expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "indices into a few samples")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "halves and quarters of small numbers are exact"))]

/// The middle value; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share lies, between neighbours in proportion; 0 of none.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = share * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * at.fract()
}

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The median and its 95 % bootstrap interval.
pub(super) fn spread(values: &[f64]) -> Spread {
    bootstrap(|draw| median(&draw(values)))
}

/// The ratio of the medians and its 95 % bootstrap interval.
pub(super) fn ratio(over: &[f64], under: &[f64]) -> Spread {
    bootstrap(|draw| {
        let under = median(&draw(under));
        if under == 0.0 { 0.0 } else { median(&draw(over)) / under }
    })
}

/// `statistic` of the values themselves, and the middle 95 % of it over 2,000 samples drawn with replacement.
fn bootstrap(statistic: impl Fn(&mut dyn FnMut(&[f64]) -> Vec<f64>) -> f64) -> Spread {
    let value = statistic(&mut <[f64]>::to_vec);
    // Fixed seed: the same figures give the same table.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |values: &[f64]| {
        let pick = |_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            values[(random % values.len() as u64) as usize]
        };
        (0..values.len()).map(pick).collect()
    };
    let samples: Vec<f64> = (0..2000).map(|_| statistic(&mut draw)).collect();
    Spread { value, low: quantile(&samples, 0.025), high: quantile(&samples, 0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(quantile(&[0.0, 10.0], 0.25), 2.5);
    }

    #[test]
    fn the_interval_of_a_ratio_holds_it_and_no_more_than_the_data() {
        let (over, under) = ([10.0, 11.0, 12.0, 11.0, 10.0], [5.0, 5.5, 5.0, 5.0, 5.0]);
        let ratio = ratio(&over, &under);
        assert_eq!(ratio.value, 11.0 / 5.0);
        assert!(ratio.low <= ratio.value && ratio.value <= ratio.high);
        assert!(ratio.low >= 10.0 / 5.5 && ratio.high <= 12.0 / 5.0);
    }
}
