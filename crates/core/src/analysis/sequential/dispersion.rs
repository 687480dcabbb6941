//! Requests are not independent: failures come in bursts. How much more than chance would the old pods scatter?
//!
//! An e-value of counts that scatter `φ` times as much as independent ones is raised to the power `1/φ`; that keeps its
//! expectation at most 1 when they are independent after all (Jensen's inequality), and makes it the quasi-likelihood of
//! Wedderburn (1974) when they are not.

use super::look::Tally;

/// Failures that a cell must expect before its scatter says something (the usual rule of Cochran, 1954).
const EXPECTED: f64 = 2.0;

/// What the scatter is held to be before anything was counted, and how many degrees of freedom that opinion is worth.
const PRIOR: (f64, f64) = (2.0, 2.0);

/// Nothing is believed to scatter more: a pod that is bad by itself must not hide a bad release.
const MOST: f64 = 20.0;

/// Pearson's `χ²` with its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scatter {
    /// The sum of the squared deviations over what was expected.
    pub chi_squared: f64,
    /// Degrees of freedom.
    pub freedom: f64,
}

impl Scatter {
    /// `φ`: at least 1.
    pub fn factor(self) -> f64 {
        let (prior, worth) = PRIOR;
        ((self.chi_squared + prior * worth) / (self.freedom + worth)).clamp(1.0, MOST)
    }

    fn add(&mut self, expected: &[f64], found: &[f64]) {
        let cells = expected.iter().zip(found).filter(|(expected, _)| **expected > 0.0);
        let mut count = 0.0;
        for (expected, found) in cells {
            self.chi_squared += (found - expected) * (found - expected) / expected;
            count += 1.0;
        }
        self.freedom += f64::max(count - 1.0, 0.0);
    }
}

/// How much the pods of one revision differ from each other in the same time; what hits all of them alike does not count.
///
/// `windows` holds one tally per pod, in the same order, oldest first. Windows are joined until each pod may expect enough
/// failures; given their number, failures fall on pods as their requests do.
pub fn among_pods(windows: &[Vec<Tally>]) -> Scatter {
    let mut scatter = Scatter::default();
    let mut open: Vec<Tally> = Vec::new();
    for window in windows {
        if open.len() < window.len() {
            open.resize(window.len(), Tally::default());
        }
        for (sum, one) in open.iter_mut().zip(window) {
            *sum = sum.plus(*one);
        }
        let total = open.iter().copied().sum::<Tally>();
        let expected: Vec<f64> = open.iter().map(|one| total.rate() * one.all).collect();
        let serving = expected.iter().zip(&open).filter(|(_, one)| one.all > 0.0);
        if total.bad > 0.0
            && serving.clone().count() > 1
            && serving.map(|(expected, _)| *expected).fold(f64::MAX, f64::min) >= EXPECTED
        {
            let found: Vec<f64> = open.iter().map(|one| one.bad).collect();
            scatter.add(&expected, &found);
            open.clear();
        }
    }
    scatter
}

/// How much the rate of one revision changes from window to window, by itself or with everything around it.
pub fn over_time(windows: &[Tally]) -> Scatter {
    let mut scatter = Scatter::default();
    let total = windows.iter().copied().sum::<Tally>();
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let mut open = Tally::default();
    for window in windows {
        open = open.plus(*window);
        if total.rate() * open.all >= EXPECTED {
            expected.push(total.rate() * open.all);
            found.push(open.bad);
            open = Tally::default();
        }
    }
    scatter.add(&expected, &found);
    scatter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(bad: &[f64]) -> Vec<Tally> {
        bad.iter().map(|bad| Tally::new(100.0, *bad)).collect()
    }

    #[test]
    fn an_outage_that_hits_all_pods_alike_is_no_scatter_among_them() {
        let windows = [pods(&[5.0, 5.0]), pods(&[90.0, 90.0]), pods(&[5.0, 5.0])];
        assert_eq!(among_pods(&windows), Scatter { chi_squared: 0.0, freedom: 3.0 });
        let over_time = over_time(&[Tally::new(200.0, 10.0), Tally::new(200.0, 180.0), Tally::new(200.0, 10.0)]);
        assert!(over_time.factor() > 10.0);
    }

    /// It is too small a window to expect enough, so the others have fewer failures than their requests would say.
    #[test]
    fn what_is_left_over_at_the_end_is_no_cell() {
        let scatter = over_time(&[Tally::new(100.0, 4.0), Tally::new(100.0, 2.0), Tally::new(10.0, 6.0)]);
        let expected = 12.0 / 210.0 * 100.0;
        let squares = (4.0_f64 - expected).powi(2) + (2.0_f64 - expected).powi(2);
        assert!((scatter.chi_squared - squares / expected).abs() < 1e-9, "{scatter:?}");
        assert!((scatter.freedom - 1.0).abs() < 1e-9, "{scatter:?}");
    }

    #[test]
    fn bursts_in_single_pods_are() {
        let windows = [pods(&[30.0, 2.0]), pods(&[1.0, 25.0]), pods(&[28.0, 3.0])];
        assert!(among_pods(&windows).factor() > 8.0);
    }

    #[test]
    fn windows_are_joined_until_they_say_something() {
        let windows: Vec<_> = (0..10).map(|_| pods(&[1.0, 1.0])).collect();
        assert_eq!(among_pods(&windows).freedom, 5.0);
    }

    #[test]
    fn with_nothing_known_it_is_what_most_services_have() {
        assert_eq!(Scatter::default().factor(), PRIOR.0);
        assert_eq!(Scatter { chi_squared: 10.0, freedom: 1000.0 }.factor(), 1.0);
        assert_eq!(Scatter { chi_squared: 1e9, freedom: 10.0 }.factor(), MOST);
    }

    #[test]
    fn scatter_is_pearsons_chi_squared() {
        // Forty failures of two pods: twenty are expected of each.
        let two = [pods(&[30.0, 10.0])];
        assert_eq!(among_pods(&two), Scatter { chi_squared: 10.0, freedom: 1.0 });
        let over_time = over_time(&[Tally::new(100.0, 30.0), Tally::new(100.0, 10.0)]);
        assert_eq!(over_time, Scatter { chi_squared: 10.0, freedom: 1.0 });
    }

    #[test]
    fn a_pod_that_nobody_asks_says_nothing() {
        let idle = [Tally::new(100.0, 30.0), Tally::new(100.0, 10.0), Tally::default()];
        assert_eq!(among_pods(&[idle.to_vec()]), Scatter { chi_squared: 10.0, freedom: 1.0 });
        assert_eq!(among_pods(&[pods(&[30.0])]), Scatter::default(), "one alone differs from nobody");
        assert_eq!(among_pods(&[pods(&[0.0, 0.0])]), Scatter::default());
    }
}
