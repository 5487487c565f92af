//! Percentiles of the duration of work when some of it ended before it was done (censored observations).
//!
//! An attempt that timed out after one second would have taken longer, but it is unknown how much longer. Without these
//! attempts the others look fast, the limit computed from them is lower, and more attempts time out, until nearly all
//! do. Counting them as one second has the same effect more slowly. The estimator of E. L. Kaplan and P. Meier
//! (*Nonparametric Estimation from Incomplete Observations*, JASA 53, 1958) counts each attempt only for the time that
//! it is known to have run.

/// A bucket of a histogram: how many durations are of completed work, and how many are of work that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// In nanoseconds.
    pub(super) span: u64,
    pub(super) completed: u64,
    pub(super) cut_off: u64,
}

/// Returns the duration that this share of the work does not exceed. `None` if it is longer than the observed
/// durations. `observed` must be sorted.
pub(super) fn quantile(observed: &[Observed], share: f64) -> Option<u64> {
    // Without this tolerance, rounding errors make 95 of 100 slightly less than 95 %.
    const ROUNDING: f64 = 1e-9;
    let mut running: u64 = observed.iter().map(|at| at.completed + at.cut_off).sum();
    // The share of the work that takes longer than the durations so far.
    let mut longer = 1.0;
    for at in observed {
        if at.completed > 0 {
            longer *= 1.0 - at.completed as f64 / running as f64;
            if longer <= 1.0 - share + ROUNDING {
                return Some(at.span);
            }
        }
        // Among equal durations, work that ended early counts as longer.
        running -= at.completed + at.cut_off;
    }
    None
}

/// Merges two sorted histograms of durations and counts: completed work, and work that ended early.
pub(super) fn merge(
    completed: impl Iterator<Item = (u64, u64)>,
    cut_off: impl Iterator<Item = (u64, u64)>,
) -> Vec<Observed> {
    let completed = completed.map(|(span, count)| Observed { span, completed: count, cut_off: 0 });
    let cut_off = cut_off.map(|(span, count)| Observed { span, completed: 0, cut_off: count });
    let mut observed: Vec<Observed> = completed.chain(cut_off).collect();
    // Stable, so completed work comes first among equal durations.
    observed.sort_by_key(|at| at.span);
    observed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_censored_observations_it_is_the_quantile_by_rank() {
        let observed = merge((1..=100).map(|span| (span, 1)), std::iter::empty());
        for percent in 1..=100_u64 {
            let share = percent as f64 / 100.0;
            assert_eq!(quantile(&observed, share), Some(percent));
        }
    }

    #[test]
    fn it_matches_a_textbook_example() {
        // Freireich et al. 1963, weeks of remission under 6-MP: the median is 23 weeks.
        let completed = [(6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1)];
        let cut_off =
            [(6, 1), (9, 1), (10, 1), (11, 1), (17, 1), (19, 1), (20, 1), (25, 1), (32, 2), (34, 1), (35, 1)];
        let observed = merge(completed.into_iter(), cut_off.into_iter());
        assert_eq!(quantile(&observed, 0.5), Some(23));
        assert_eq!(quantile(&observed, 0.25), Some(13));
        assert_eq!(quantile(&observed, 0.9), None, "too many observations are censored");
    }

    proptest! {
        #[test]
        fn censoring_makes_no_quantile_smaller(
            spans in prop::collection::vec(1_u64..1000, 1..200),
            limit in 1_u64..1000,
            share in 0.01_f64..1.0,
        ) {
            let all = |spans: &[u64]| merge(spans.iter().map(|span| (*span, 1)), std::iter::empty());
            let exact = quantile(&all(&spans), share).unwrap();
            let completed = spans.iter().filter(|span| **span <= limit).map(|span| (*span, 1));
            let cut_off = spans.iter().filter(|span| **span > limit).map(|_| (limit, 1));
            let seen = quantile(&merge(completed, cut_off), share);
            prop_assert_eq!(seen, (exact <= limit).then_some(exact));
        }
    }
}
