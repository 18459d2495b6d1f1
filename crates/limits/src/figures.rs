//! Figures of all rounds, and what is published of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Figures by name, round by round.
#[derive(Debug, Default)]
pub struct Figures {
    /// When and on what they were measured.
    pub about: String,
    rounds: Vec<BTreeMap<String, f64>>,
    voids: Vec<String>,
}

impl Figures {
    /// None yet. `about`: when and on what they are measured.
    #[must_use]
    pub fn new(about: String) -> Self {
        Self {
            about,
            ..Self::default()
        }
    }

    /// What is added from now on belongs to another round.
    pub fn begin_round(&mut self) {
        self.rounds.push(BTreeMap::new());
    }

    /// Adds a figure to the round.
    ///
    /// # Panics
    /// If no round has begun or the round has a figure of that name.
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        let round = self.rounds.last_mut().expect("a round");
        println!("    {name} {value:.2}");
        let before = round.insert(name.clone(), value);
        assert!(before.is_none(), "{name} was measured twice in a round");
    }

    /// A run whose figures do not count, and why.
    pub fn add_void(&mut self, name: &str, why: &str) {
        let text = format!("{name}, round {}: {why}", self.rounds.len());
        println!("    VOID {text}");
        self.voids.push(text);
    }

    /// The runs that do not count.
    #[must_use]
    pub fn voids(&self) -> &[String] {
        &self.voids
    }

    /// How many rounds have begun.
    #[must_use]
    pub const fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// A figure in all rounds that have it.
    fn all(&self, name: &str) -> Vec<f64> {
        let values = self.rounds.iter().filter_map(|round| round.get(name));
        values.copied().collect()
    }

    /// A figure of this round.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<f64> {
        self.rounds.last()?.get(name).copied()
    }

    /// The median over the rounds; `None` if it was never measured.
    #[must_use]
    pub fn median(&self, name: &str) -> Option<f64> {
        median(self.all(name))
    }

    /// The least and the greatest.
    #[must_use]
    pub fn range(&self, name: &str) -> Option<(f64, f64)> {
        let all = self.all(name);
        let least = all.iter().copied().reduce(f64::min)?;
        Some((least, all.iter().copied().reduce(f64::max)?))
    }

    /// The median of the ratios of two figures of one round: hosts drift from round to round.
    #[must_use]
    pub fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let ratios = self.rounds.iter().filter_map(|round| {
            let to = round.get(to).filter(|to| **to > 0.0)?;
            Some(round.get(of)? / to)
        });
        median(ratios.collect())
    }

    /// Everything, for a file.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"about": self.about, "rounds": self.rounds, "void": self.voids})
    }

    /// What was written so.
    ///
    /// # Errors
    /// If it was not.
    pub fn read(mut file: Value) -> Result<Self, serde_json::Error> {
        Ok(Self {
            about: serde_json::from_value(file["about"].take())?,
            rounds: serde_json::from_value(file["rounds"].take())?,
            voids: serde_json::from_value(file["void"].take())?,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[half - 1], upper))
}

/// The value below which a share of them lies; 0 if there are none.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rounds: &[&[(&str, f64)]]) -> Figures {
        let mut figures = Figures::default();
        for round in rounds {
            figures.begin_round();
            for (name, value) in *round {
                figures.add(*name, *value);
            }
        }
        figures
    }

    #[test]
    fn a_median_is_the_middle() {
        let three = figures(&[&[("a", 9.0)], &[("a", 1.0)], &[("a", 2.0)]]);
        assert_eq!(three.median("a"), Some(2.0));
        let two = figures(&[&[("a", 1.0)], &[], &[("a", 2.0)]]);
        assert_eq!(two.median("a"), Some(1.5));
        assert_eq!(two.range("a"), Some((1.0, 2.0)));
        assert_eq!(two.median("b"), None);
        assert_eq!(two.range("b"), None);
    }

    /// The host was ten times faster in the first round and twice in the third: the ratio of the medians
    /// would be 2, but in every round but one it was 4.
    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let drifting = figures(&[
            &[("a", 40.0), ("b", 10.0)],
            &[("a", 4.0), ("b", 1.0)],
            &[("a", 2.0), ("b", 2.0)],
            &[("a", 5.0)],
            &[("b", 5.0)],
            &[("a", 5.0), ("b", 0.0)],
        ]);
        assert_eq!(drifting.ratio("a", "b"), Some(4.0));
        assert_eq!(drifting.ratio("a", "c"), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((quantile(&values, 0.5) - 50.0).abs() < f64::EPSILON);
        assert!((quantile(&values, 0.99) - 99.0).abs() < f64::EPSILON);
        assert!(quantile(&[], 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_void_is_kept() {
        let mut figures = figures(&[&[], &[]]);
        figures.add_void("accept", "a task failed");
        assert_eq!(figures.voids(), ["accept, round 2: a task failed"]);
    }

    #[test]
    fn what_is_in_the_file_comes_back() {
        let mut figures = figures(&[&[("a", 1.5)], &[("b", 2.0)]]);
        figures.about = "today".to_owned();
        figures.add_void("accept", "a task failed");
        let read = Figures::read(figures.json()).expect("figures");
        assert_eq!(read.json(), figures.json());
        Figures::read(json!({"rounds": []})).expect_err("it lacks something");
    }
}
