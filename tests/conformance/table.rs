//! Makes the capability table out of what came of the cases.
//!
//! A value of a feature is in the table if it was right in some case. That generalizes: features that were right apart
//! are taken to be right together. What is wrong takes back, as much as the cases can tell is to blame:
//!
//! 1. a value with which much is wrong, or which is the likeliest cause of a wrong case that looks like a right one, is
//!    out, in all opsets but those in which the same cases are right;
//! 2. what is wrong then still is due to features that do not go together: the pair that no right case has is excepted;
//! 3. where no pair is to blame, the types are out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use gpux::onnx::Model;
use gpux::runtime::embedded::{only_form, output_types};

use crate::cases::Case;
use crate::child::Outcome;

/// The features of one node, each key with its value.
type Features = BTreeMap<String, String>;
/// Features that do not go together.
type Exception = Vec<(String, String)>;

/// The share of wrong cases from which on a value is out wherever it is.
const BLAMED: f64 = 0.3;

const HEAD: &str = "\
# What the embedded engine does right. `make capability-table` writes this file from the cases of tests/conformance, and
# that test fails where the file claims more than passes or is not what the cases give. The syntax is in table.rs, the
# features are in form.rs.
";

/// Causes that the shares of wrong cases do not tell: (operator, key, value).
const CAUSES: &[(&str, &str, &str)] = &[
    // Boxes of several batches or classes, or with their corners flipped, are nothing that a feature shows.
    (
        "NonMaxSuppression",
        "types",
        "float32,float32,int64,float32,float32=>int64",
    ),
    // rten pads no more than the last two axes with anything but a constant.
    ("Pad", "@mode", "edge"),
    ("Pad", "@mode", "reflect"),
    ("Pad", "@mode", "wrap"),
    // By scales, ONNX and ONNX Runtime place the corners differently, and rten does as the latter.
    ("Resize", "@coordinate_transformation_mode", "align_corners"),
];

/// Tells whether an operator that is right alone is wrong in company, which cases of one node do not show.
fn misleads(operator: &str, types: &str) -> bool {
    match operator {
        // rten divides by a scalar with its reciprocal; what is half a rounding error then falls to the other side.
        "Round" => true,
        // Inside, a bool is the number that was cast, and not 1; at the end of a graph it is put right.
        "Cast" | "CastLike" => types.ends_with("=>bool") && !types.starts_with("bool"),
        _ => false,
    }
}

/// Is one case as evidence.
struct Trial {
    /// The test that this is a form of; its other forms differ in opset, or in what lies in the model.
    base: String,
    features: Features,
    right: bool,
}

/// Is a table, and what its making had to give up.
pub struct Made {
    pub text: String,
    pub given_up: Vec<String>,
}

/// Makes the table of all cases with one node.
pub fn make<'c>(cases: impl Iterator<Item = (&'c Case, &'c Outcome)>) -> Made {
    let mut operators: BTreeMap<String, Vec<Trial>> = BTreeMap::new();
    for (case, outcome) in cases {
        let right = match outcome {
            Outcome::Right => true,
            Outcome::Refused(_) => continue,
            Outcome::Failed(_) | Outcome::Wrong(_) | Outcome::Died => false,
        };
        if let Some((operator, features)) = features(case) {
            let base = case.name.split('@').next().unwrap_or_default().to_owned();
            operators
                .entry(operator)
                .or_default()
                .push(Trial { base, features, right });
        }
    }
    let mut made = Made {
        text: HEAD.to_owned(),
        given_up: Vec::new(),
    };
    for (operator, trials) in operators {
        let mut row = Row::new(&operator, trials);
        made.given_up
            .extend(row.settle().into_iter().map(|line| format!("{operator}: {line}")));
        row.write(&operator, &mut made.text);
    }
    made
}

/// Gives the operator of a case and the features of its node.
fn features(case: &Case) -> Option<(String, Features)> {
    let (since, until) = case.since.zip(case.until)?;
    let model = Model::parse(case.model.clone().into()).ok()?;
    let form = only_form(&model)?;
    let node = model.proto().graph.as_ref()?.node.first()?;
    if node.op_type() == "Constant" {
        return None;
    }
    let mut features = form.features;
    let mut outputs = case.outputs.iter();
    let dtypes = node
        .output
        .iter()
        .map(|name| if name.is_empty() { None } else { outputs.next() }.map(|tensor| tensor.dtype()));
    let types = format!("{}=>{}", features["types"], output_types(&form.operator, dtypes));
    if misleads(&form.operator, &types) {
        return None;
    }
    features.insert("types".to_owned(), types);
    features.insert("opset".to_owned(), format!("{since}-{until}"));
    Some((form.operator, features))
}

/// Is the row of one operator in the making.
struct Row {
    causes: Vec<(&'static str, &'static str)>,
    trials: Vec<Trial>,
    exceptions: BTreeSet<Exception>,
}

impl Row {
    fn new(operator: &str, mut trials: Vec<Trial>) -> Self {
        let keys: BTreeSet<String> = trials.iter().flat_map(|trial| trial.features.keys().cloned()).collect();
        for trial in &mut trials {
            for key in &keys {
                trial.features.entry(key.clone()).or_insert_with(|| "-".to_owned());
            }
        }
        let causes = CAUSES
            .iter()
            .filter(|(of, ..)| *of == operator)
            .map(|(_, key, value)| (*key, *value))
            .collect();
        Row {
            causes,
            trials,
            exceptions: BTreeSet::new(),
        }
    }

    /// Takes back until no wrong case is claimed; gives a line for each step.
    fn settle(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(wrong) = self.claimed_wrong() {
            let name = wrong.base.clone();
            let features = wrong.features.clone();
            let alike = self
                .trials
                .iter()
                .any(|trial| trial.right && trial.features == features && !self.excepted(trial));
            let (key, value, share) = self.suspect(&features);
            if alike || share >= BLAMED {
                let opsets = self.blamed_opsets(&key, &value);
                lines.push(format!(
                    "{key}={value} is out in {opsets:?}, as {name} is wrong ({:.0} %)",
                    share * 100.0
                ));
                for opset in opsets {
                    self.exceptions
                        .insert(vec![(key.clone(), value.clone()), ("opset".to_owned(), opset)]);
                }
            } else if let Some(exception) = self.pair() {
                lines.push(format!("{exception:?} do not go together, as in {name}"));
                self.exceptions.insert(exception);
            } else {
                let types = features["types"].clone();
                lines.push(format!(
                    "types={types} is out, as {name} is wrong in no pair of features"
                ));
                self.trials
                    .retain(|trial| !(trial.right && trial.features["types"] == types));
            }
        }
        lines
    }

    /// Gives the right cases that count: no exception has them.
    fn right(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| trial.right && !self.excepted(trial))
    }

    fn excepted(&self, trial: &Trial) -> bool {
        self.exceptions
            .iter()
            .any(|exception| holds(&trial.features, exception))
    }

    fn allowed(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, value) in self.right().flat_map(|trial| &trial.features) {
            allowed.entry(key).or_default().insert(value);
        }
        allowed
    }

    /// Tells whether a table of the row has a case.
    fn has(&self, trial: &Trial, allowed: &BTreeMap<&str, BTreeSet<&str>>) -> bool {
        let known = |(key, value): (&String, &String)| {
            allowed
                .get(key.as_str())
                .is_some_and(|values| values.contains(value.as_str()))
        };
        !self.excepted(trial) && trial.features.iter().all(known)
    }

    /// Lists the wrong cases that a table of the row would claim.
    fn claims(&self) -> Vec<&Trial> {
        let allowed = self.allowed();
        self.trials
            .iter()
            .filter(|trial| !trial.right && self.has(trial, &allowed))
            .collect()
    }

    /// Gives the first claim in an order that does not depend on the order of the cases; those that look right first.
    fn claimed_wrong(&self) -> Option<&Trial> {
        let right: BTreeSet<&Features> = self.right().map(|trial| &trial.features).collect();
        self.claims()
            .into_iter()
            .min_by_key(|trial| (!right.contains(&trial.features), &trial.features, &trial.base))
    }

    /// Finds the feature with which most is wrong, among the cases of the same opset that the row has; opsets themselves
    /// are blamed for nothing.
    fn suspect(&self, features: &Features) -> (String, String, f64) {
        if let Some((key, value)) = self.causes.iter().find(|(key, value)| features[*key] == *value) {
            return ((*key).to_owned(), (*value).to_owned(), 1.0);
        }
        let allowed = self.allowed();
        let here: Vec<&Trial> = self
            .trials
            .iter()
            .filter(|trial| trial.features["opset"] == features["opset"] && self.has(trial, &allowed))
            .collect();
        let mut worst: Option<(f64, usize, &String, &String)> = None;
        for (key, value) in features.iter().filter(|(key, _)| *key != "opset") {
            let with = || here.iter().filter(|trial| &trial.features[key] == value);
            let (all, wrong) = (with().count(), with().filter(|trial| !trial.right).count());
            let share = wrong as f64 / all as f64;
            // Of equal shares the rarer value: it takes less with it.
            if worst.is_none_or(|(most, fewest, ..)| share > most || (share == most && all < fewest)) {
                worst = Some((share, all, key, value));
            }
        }
        let (share, _, key, value) = worst.expect("each case has types");
        (key.clone(), value.clone(), share)
    }

    /// Finds the opsets in which a value is to blame: all but those where each test that is wrong elsewhere is right.
    /// What is left out means something else in each opset, and is to blame only where it is wrong.
    fn blamed_opsets(&self, key: &str, value: &str) -> BTreeSet<String> {
        let with: Vec<&Trial> = self
            .trials
            .iter()
            .filter(|trial| trial.features[key] == value && !self.excepted(trial))
            .collect();
        let allowed = self.allowed();
        let claimed: BTreeSet<String> = with
            .iter()
            .filter(|trial| !trial.right && self.has(trial, &allowed))
            .map(|trial| trial.features["opset"].clone())
            .collect();
        if value == "-" {
            return claimed;
        }
        let wrong: BTreeSet<&str> = with
            .iter()
            .filter(|trial| !trial.right)
            .map(|trial| trial.base.as_str())
            .collect();
        let clean = |opset: &String| {
            let here = || with.iter().filter(|trial| &trial.features["opset"] == opset);
            here().all(|trial| trial.right) && wrong.iter().any(|base| here().any(|trial| trial.base == *base))
        };
        let opsets: BTreeSet<String> = self
            .trials
            .iter()
            .map(|trial| trial.features["opset"].clone())
            .collect();
        opsets
            .into_iter()
            .filter(|opset| claimed.contains(opset) || !clean(opset))
            .collect()
    }

    /// Finds the pair of features that no right case has and most wrong claims do.
    fn pair(&self) -> Option<Exception> {
        let claims = self.claims();
        let mut counts: BTreeMap<Exception, usize> = BTreeMap::new();
        for trial in &claims {
            let all: Vec<_> = trial
                .features
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            for (at, first) in all.iter().enumerate() {
                for second in &all[at + 1..] {
                    *counts.entry(vec![first.clone(), second.clone()]).or_default() += 1;
                }
            }
        }
        counts.retain(|pair, _| !self.right().any(|trial| holds(&trial.features, pair)));
        let most = counts.values().copied().max();
        counts
            .into_iter()
            .find(|(_, count)| Some(*count) == most)
            .map(|(pair, _)| pair)
    }

    fn write(&self, operator: &str, text: &mut String) {
        let allowed = self.allowed();
        if allowed.is_empty() {
            return;
        }
        writeln!(text, "{operator}").unwrap();
        let mut keys: Vec<&&str> = allowed.keys().collect();
        keys.sort_by_key(|key| (key.starts_with('@'), **key));
        for key in keys {
            let mut values: Vec<&str> = allowed[*key].iter().copied().collect();
            if *key == "opset" {
                values.sort_by_key(|range| range.split('-').next().map(|since| since.parse::<i64>().unwrap()));
            }
            if values != ["-"] {
                writeln!(text, "  {key} {}", values.join(" ")).unwrap();
            }
        }
        let said = |(key, value): &(String, String)| {
            allowed
                .get(key.as_str())
                .is_some_and(|values| values.contains(value.as_str()))
        };
        for exception in self.exceptions.iter().filter(|exception| exception.iter().all(said)) {
            let features: Vec<String> = exception.iter().map(|(key, value)| format!("{key}={value}")).collect();
            writeln!(text, "  not {}", features.join(" ")).unwrap();
        }
    }
}

fn holds(features: &Features, exception: &Exception) -> bool {
    exception.iter().all(|(key, value)| features.get(key) == Some(value))
}
