//! Whether a measured figure grows: a straight line through it, with the error of its slope.
//!
//! Samples that follow one another are alike, so the ordinary error of a slope is far too small. Here the line goes
//! through the means of [`BATCHES`] equal stretches, and what is still alike between neighbours of those widens the error.

/// Stretches that a series is cut into.
pub const BATCHES: usize = 20;

/// The quantile of Student's t for 95 % on both sides, with two degrees of freedom fewer than there are batches.
const T: f64 = 2.101;

/// A slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// How much it rises for one unit of time.
    pub rise: f64,
    /// The standard error of that.
    pub error: f64,
    /// The mean of the figure.
    pub mean: f64,
}

impl Slope {
    /// The line through points of time and figure, in the order of time; `None` if they are too few.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let size = points.len() / BATCHES;
        if size == 0 {
            return None;
        }
        // What is left over is the oldest.
        let means: Vec<(f64, f64)> = points
            .get(points.len() - size * BATCHES..)?
            .chunks(size)
            .map(|batch| (mean(batch.iter().map(|point| point.0)), mean(batch.iter().map(|point| point.1))))
            .collect();
        let (time, figure) = (mean(means.iter().map(|one| one.0)), mean(means.iter().map(|one| one.1)));
        let spread: f64 = means.iter().map(|(at, _)| (at - time).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let rise = means.iter().map(|(at, value)| (at - time) * (value - figure)).sum::<f64>() / spread;
        let off: Vec<f64> = means.iter().map(|(at, value)| value - figure - rise * (at - time)).collect();
        let squares: f64 = off.iter().map(|one| one.powi(2)).sum();
        let alike: f64 = off.windows(2).map(|two| two.iter().product::<f64>()).sum();
        let alike = if squares > 0.0 { (alike / squares).clamp(0.0, 0.9) } else { 0.0 };
        let variance = squares / (count(means.len()) - 2.0) / spread;
        Some(Self { rise, error: (variance * (1.0 + alike) / (1.0 - alike)).sqrt(), mean: figure })
    }

    /// The 95 % confidence interval of how much the figure rises in so much time.
    pub fn within(&self, time: f64) -> (f64, f64) {
        ((self.rise - T * self.error) * time, (self.rise + T * self.error) * time)
    }

    /// Whether it cannot be told from 0, or what it may come to in so much time is less than this share of the mean.
    pub fn is_flat(&self, time: f64, share: f64) -> bool {
        let (least, most) = self.within(time);
        least <= 0.0 || most < share * self.mean
    }
}

fn mean(of: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = count(of.len());
    of.sum::<f64>() / number
}

#[allow(clippy::cast_precision_loss, reason = "numbers of samples")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A figure around 1000 that rises by so much in 30 days; neighbours share this part of their noise of about 10.
    fn series(rise: f64, alike: f64) -> Vec<(f64, f64)> {
        let (mut state, mut noise) = (7_u64, 0.0);
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX) - 0.5
        };
        let mut point = |index: u32| {
            noise = alike * noise + random() * 34.0 * (1.0_f64 - alike * alike).sqrt();
            let day = f64::from(index) / 20.0;
            (day, 1000.0 + rise * day / 30.0 + noise)
        };
        (0..600).map(&mut point).collect()
    }

    #[test]
    fn what_does_not_rise_is_flat_and_what_rises_is_not() {
        for alike in [0.0, 0.5, 0.9] {
            assert!(Slope::of(&series(0.0, alike)).unwrap().is_flat(30.0, 0.01), "{alike}");
            assert!(!Slope::of(&series(100.0, alike)).unwrap().is_flat(30.0, 0.01), "{alike}");
        }
    }

    #[test]
    fn the_slope_is_found_within_its_error() {
        let slope = Slope::of(&series(60.0, 0.5)).unwrap();
        let (least, most) = slope.within(30.0);
        assert!(least < 60.0 && 60.0 < most && most - least < 20.0, "{least}..{most}");
        assert!((slope.mean - 1030.0).abs() < 3.0, "{slope:?}");
    }

    #[test]
    fn noise_that_hangs_together_widens_the_error() {
        let error = |alike| Slope::of(&series(0.0, alike)).unwrap().error;
        assert!(error(0.98) > 3.0 * error(0.0), "{} {}", error(0.98), error(0.0));
    }

    #[test]
    fn a_rise_that_is_sure_and_tiny_is_flat() {
        let sure: Vec<(f64, f64)> =
            (0..100).map(|index| (f64::from(index), 1000.0 + 0.01 * f64::from(index))).collect();
        let slope = Slope::of(&sure).unwrap();
        assert!(slope.within(30.0).0 > 0.0);
        assert!(slope.is_flat(30.0, 0.01) && !slope.is_flat(30.0, 0.0001));
    }

    #[test]
    fn of_too_few_points_nothing_is_said() {
        assert_eq!(Slope::of(&[(0.0, 1.0); 5]), None);
        assert_eq!(Slope::of(&[(0.0, 1.0); 100]), None, "all at the same time");
    }
}
