use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Configuration;
use crate::fs;

/// More than this is no file of findings.
const MOST_BYTES: usize = 1 << 20;

/// Says what findings hold for: another model, machine, driver or version has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The model's digest, in hex.
    pub model: String,
    /// Everything else, as one text.
    pub machine: String,
}

/// Is what tuning found for one model, on one machine, for inputs of some shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What the findings hold for, beside the model.
    pub machine: String,
    /// The shape of each input that was tried.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Whether nothing that rounds was tried.
    pub exact: bool,
    /// What is fastest.
    pub configuration: Configuration,
    /// Its median time a call. Units: microseconds.
    pub median_us: f64,
}

impl Finding {
    /// Gives the median time of a call.
    pub fn median(&self) -> Duration {
        Duration::from_secs_f64(self.median_us.max(0.0) / 1e6)
    }
}

/// Is the folder of findings, `$GPUX_HOME/cache/tune`: one file a model.
#[derive(Clone, Debug)]
pub struct Findings {
    folder: PathBuf,
}

impl Findings {
    /// Is the findings at `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Findings { folder }
    }

    /// Tells whether any model was ever tuned here; where none was, there is no need to know a model's digest.
    pub fn is_empty(&self) -> bool {
        fs::names(&self.folder).map_or(true, |names| names.is_empty())
    }

    fn path(&self, model: &str) -> PathBuf {
        self.folder.join(format!("{model}.json"))
    }

    /// Reads what was found for the model on this machine. What cannot be read was never found.
    pub fn read(&self, key: &Key) -> Vec<Finding> {
        let mut found = self.read_all(&key.model);
        found.retain(|finding| finding.machine == key.machine);
        found
    }

    fn read_all(&self, model: &str) -> Vec<Finding> {
        let bytes = fs::read_at_most(&self.path(model), MOST_BYTES).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Keeps a finding; it takes the place of what was found before for the same shapes and exactness.
    ///
    /// Errors: the folder or the file cannot be written.
    pub fn write(&self, key: &Key, finding: Finding) -> Result<(), fs::Error> {
        let mut all = self.read_all(&key.model);
        all.retain(|old| (&old.machine, &old.shapes, old.exact) != (&finding.machine, &finding.shapes, finding.exact));
        all.insert(0, finding);
        // Findings of machines and drivers that are gone do not pile up.
        all.truncate(32);
        fs::create_folders(&self.folder)?;
        let text = serde_json::to_vec_pretty(&all).unwrap_or_default();
        fs::replace(&self.path(&key.model), &text)
    }
}

/// Picks the finding for inputs of these shapes, the faster of two: one may be exact and slower than the other. Where the
/// shapes are not known or were not tried, the newest.
pub fn pick<'f>(
    findings: &'f [Finding],
    shapes: Option<&BTreeMap<String, Vec<usize>>>,
    exact: bool,
) -> Option<&'f Finding> {
    let admitted = |finding: &&Finding| !exact || finding.configuration.settings.reduced_precision().is_empty();
    let admitted: Vec<&Finding> = findings.iter().filter(admitted).collect();
    let tried = admitted.iter().filter(|finding| Some(&finding.shapes) == shapes);
    let fastest = tried.min_by(|one, other| one.median_us.total_cmp(&other.median_us));
    fastest.or(admitted.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ProviderKind;

    #[test]
    fn an_exact_finding_does_not_hide_a_faster_one_for_the_same_shapes() {
        let mut exact = finding("m", 1, false);
        exact.median_us = 2210.0;
        let findings = [exact, finding("m", 1, true)];
        let shapes = findings[0].shapes.clone();
        let picked = |is_exact| pick(&findings, Some(&shapes), is_exact).map(|finding| finding.median_us);
        assert_eq!(picked(false), Some(630.0));
        assert_eq!(picked(true), Some(2210.0));
    }

    fn finding(machine: &str, batch: usize, tf32: bool) -> Finding {
        let mut configuration = Configuration::plain(ProviderKind::Cuda);
        configuration.settings.tf32 = tf32;
        Finding {
            machine: machine.to_owned(),
            shapes: [("x".to_owned(), vec![batch, 3])].into(),
            exact: !tf32,
            configuration,
            median_us: 630.0,
        }
    }

    #[test]
    fn findings_are_kept_a_model_and_a_machine_and_replaced_for_the_same_shapes() {
        let folder = tempfile::tempdir().unwrap();
        let findings = Findings::new(folder.path().join("tune"));
        let key = |model: &str, machine: &str| Key {
            model: model.to_owned(),
            machine: machine.to_owned(),
        };
        assert!(findings.is_empty() && findings.read(&key("a", "one")).is_empty());
        findings.write(&key("a", "one"), finding("one", 1, true)).unwrap();
        findings.write(&key("a", "one"), finding("one", 1, true)).unwrap();
        findings.write(&key("a", "one"), finding("one", 64, true)).unwrap();
        findings.write(&key("a", "two"), finding("two", 1, true)).unwrap();
        assert!(!findings.is_empty());
        assert_eq!(findings.read(&key("a", "one")).len(), 2);
        assert_eq!(findings.read(&key("a", "two")), [finding("two", 1, true)]);
        assert!(findings.read(&key("b", "one")).is_empty());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let findings = Findings::new(folder.path().to_owned());
        std::fs::write(folder.path().join("a.json"), "[{").unwrap();
        let key = Key {
            model: "a".to_owned(),
            machine: "one".to_owned(),
        };
        assert!(findings.read(&key).is_empty());
        findings.write(&key, finding("one", 1, false)).unwrap();
        assert_eq!(findings.read(&key).len(), 1);
    }

    #[test]
    fn the_finding_for_the_shapes_is_picked_and_nothing_that_rounds_where_exactness_is_asked_for() {
        let found = [
            finding("one", 64, true),
            finding("one", 1, true),
            finding("one", 1, false),
        ];
        let shapes = [("x".to_owned(), vec![1, 3])].into();
        assert_eq!(pick(&found, Some(&shapes), false), Some(&found[1]));
        assert_eq!(pick(&found, None, false), Some(&found[0]));
        assert_eq!(pick(&found, Some(&shapes), true), Some(&found[2]));
        let other = [("x".to_owned(), vec![7, 3])].into();
        assert_eq!(pick(&found, Some(&other), true), Some(&found[2]));
        assert_eq!(pick(&found[..2], None, true), None);
    }
}
