//! How long work takes, of which some was ended before it was done.
//!
//! An attempt that was cut off after a second says that it would have taken longer, and not how long. To leave such out
//! would make the rest look fast, a limit taken from it would cut off more, and so on down; to count them for a second
//! would do the same more slowly. The estimator of E. L. Kaplan and P. Meier (*Nonparametric Estimation from Incomplete
//! Observations*, JASA 53, 1958) counts each for as long as it is known to have run, and for nothing beyond.

/// Of the spans in a bucket of a histogram: how many were all the time the work took, and how many were cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// In nanoseconds.
    pub(super) span: u64,
    pub(super) completed: u64,
    pub(super) cut_off: u64,
}

/// The span that this share of the work does not exceed; `None` where that is more than could be seen of it.
/// `observed` rises.
pub(super) fn quantile(observed: &[Observed], share: f64) -> Option<u64> {
    // Rounding would else make of 95 in 100 a little less.
    const ROUNDING: f64 = 1e-9;
    let mut running: u64 = observed.iter().map(|at| at.completed + at.cut_off).sum();
    // Of all the work, what takes longer than the spans seen so far.
    let mut longer = 1.0;
    for at in observed {
        if at.completed > 0 {
            longer *= 1.0 - at.completed as f64 / running as f64;
            if longer <= 1.0 - share + ROUNDING {
                return Some(at.span);
            }
        }
        // Of equal spans those that were cut off are the longer ones.
        running -= at.completed + at.cut_off;
    }
    None
}

/// Two histograms in one, both rising: the spans of completed work, and of what was cut off, with how many there are.
pub(super) fn merge(
    completed: impl Iterator<Item = (u64, u64)>,
    cut_off: impl Iterator<Item = (u64, u64)>,
) -> Vec<Observed> {
    let completed = completed.map(|(span, count)| Observed { span, completed: count, cut_off: 0 });
    let cut_off = cut_off.map(|(span, count)| Observed { span, completed: 0, cut_off: count });
    let mut observed: Vec<Observed> = completed.chain(cut_off).collect();
    // Stable: completed first where the spans are equal.
    observed.sort_by_key(|at| at.span);
    observed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_any_cut_off_it_is_the_quantile_by_rank() {
        let observed = merge((1..=100).map(|span| (span, 1)), std::iter::empty());
        for percent in 1..=100_u64 {
            let share = percent as f64 / 100.0;
            assert_eq!(quantile(&observed, share), Some(percent));
        }
    }

    #[test]
    fn the_textbook_example_comes_out() {
        // Freireich et al. 1963, weeks of remission under 6-MP: the median is 23 weeks.
        let completed = [(6, 3), (7, 1), (10, 1), (13, 1), (16, 1), (22, 1), (23, 1)];
        let cut_off =
            [(6, 1), (9, 1), (10, 1), (11, 1), (17, 1), (19, 1), (20, 1), (25, 1), (32, 2), (34, 1), (35, 1)];
        let observed = merge(completed.into_iter(), cut_off.into_iter());
        assert_eq!(quantile(&observed, 0.5), Some(23));
        assert_eq!(quantile(&observed, 0.25), Some(13));
        assert_eq!(quantile(&observed, 0.9), None, "more was cut off than that leaves");
    }

    proptest! {
        #[test]
        fn cutting_off_makes_no_quantile_smaller(
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
