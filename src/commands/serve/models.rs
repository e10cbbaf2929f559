//! The options of `gpux serve` that say how models come, stay and go.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::serve::{AccessOptions, ModelName, Policy, Version};

use super::{Code, Failure, size, time};

/// Says how models come, stay and go.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Model options")]
pub struct ModelArgs {
    /// Look every so often whether a tag that is served names another artifact in the store, and let that answer from then on;
    /// no request is lost
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5s", value_parser = interval)]
    pub watch: Option<Duration>,
    /// Ask the registries too, and pull what has moved there
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1m", value_parser = interval)]
    pub watch_registry: Option<Duration>,
    /// Unload a model that nobody calls for so long; the next request loads it again, and waits for it
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub keep_alive: Option<Duration>,
    /// The most memory that the workers may take together: models that nobody calls make room for others
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "in_process")]
    pub models_memory: Option<u64>,
    /// What part of the calls without a version a version answers, in per cent; may be repeated
    #[arg(long, value_name = "NAME:VERSION=PERCENT", value_parser = weight)]
    pub weight: Vec<Weight>,
    /// Let admins load and unload models by calls
    #[arg(long)]
    pub model_control: bool,
    /// Serve a model without calling it once before
    #[arg(long)]
    pub no_warm_up: bool,
    /// Use what tuning has found, and do not tune a model for a few seconds where it has not
    #[arg(long)]
    pub no_tune: bool,
    /// The numbers of the devices that instances are placed on, in turn; without --instances, one each
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with = "device")]
    pub devices: Vec<u32>,
}

/// Is what one `--weight` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    name: ModelName,
    version: Version,
    percent: u8,
}

impl ModelArgs {
    /// Looks whether anybody could load and unload models, where that is allowed.
    ///
    /// Errors: nobody could.
    pub fn check_control(&self, access: &AccessOptions) -> Result<(), Failure> {
        if !self.model_control || access.tokens.is_some() {
            return Ok(());
        }
        let what = "--model-control lets admins load and unload models, and without tokens there are none";
        Err(Failure::new(Code::Usage, what)
            .hint("make a token with `gpux serve token create --tenant NAME --admin`, and say where with --tokens"))
    }

    /// Gives what they mean for the server of these models.
    ///
    /// Errors: a weight is for a model that is not served, or the weights of a name are not a hundred per cent.
    pub fn policy(&self, models: &[(ModelName, Version)]) -> Result<Policy, Failure> {
        let mut weights = BTreeMap::new();
        for Weight { name, version, percent } in &self.weight {
            let key = (name.clone(), version.clone());
            if !models.contains(&key) {
                let known: Vec<String> = models
                    .iter()
                    .map(|(name, version)| format!("{name}:{version}"))
                    .collect();
                return Err(Failure::new(
                    Code::Usage,
                    format!("--weight is for `{name}:{version}`, which is not served"),
                )
                .hint(format!("served are {}", known.join(", "))));
            }
            if weights.insert(key, *percent).is_some() {
                return Err(Failure::new(Code::Usage, format!("`{name}:{version}` has two weights")));
            }
        }
        for (name, _) in weights.keys() {
            let versions = models.iter().filter(|(other, _)| other == name);
            let given: Vec<Option<u8>> = versions.map(|key| weights.get(key).copied()).collect();
            let sum: u32 = given.iter().flatten().map(|&percent| u32::from(percent)).sum();
            let is_whole = sum == 100 || (sum < 100 && given.contains(&None));
            if !is_whole {
                let failure = Failure::new(
                    Code::Usage,
                    format!("the weights of `{name}` are {sum} per cent together"),
                );
                return Err(failure.hint("they must be 100; versions without a weight share what is left"));
            }
        }
        Ok(Policy {
            keep_alive: self.keep_alive,
            most_bytes: self.models_memory,
            weights,
        })
    }
}

fn weight(text: &str) -> Result<Weight, String> {
    let wrong = || format!("`{text}` is not NAME:VERSION=PERCENT, such as digits:2.0.0=10");
    let (model, percent) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (name, version) = model.split_once(':').ok_or_else(wrong)?;
    let percent = percent
        .trim_end_matches('%')
        .parse()
        .ok()
        .filter(|&percent| percent <= 100);
    match (name, version, percent) {
        ("", _, _) | (_, "", _) | (_, _, None) => Err(wrong()),
        (name, version, Some(percent)) => Ok(Weight {
            name: name.to_owned(),
            version: version.to_owned(),
            percent,
        }),
    }
}

/// Reads a time that is not nothing.
fn interval(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(weights: &[&str]) -> Result<Policy, String> {
        let models = [("m", "1"), ("m", "2"), ("m", "3"), ("other", "1")];
        let models = models.map(|(name, version)| (name.to_owned(), version.to_owned()));
        let args = ModelArgs {
            weight: weights.iter().map(|text| weight(text)).collect::<Result<_, _>>()?,
            ..ModelArgs::default()
        };
        args.policy(&models).map_err(|failure| failure.what().to_owned())
    }

    #[test]
    fn weights_are_parts_of_a_hundred() {
        let both = policy(&["m:1=90", "m:2=10%", "m:3=0"]).unwrap().weights;
        assert_eq!(both[&("m".to_owned(), "1".to_owned())], 90);
        assert_eq!(both.len(), 3);
        assert!(policy(&["m:1=90"]).is_ok(), "the others share what is left");
        assert_eq!(
            policy(&["m:1=90", "m:2=20"]).unwrap_err(),
            "the weights of `m` are 110 per cent together"
        );
        assert_eq!(
            policy(&["m:1=90", "m:2=5", "m:3=1"]).unwrap_err(),
            "the weights of `m` are 96 per cent together"
        );
        assert_eq!(
            policy(&["other:1=99"]).unwrap_err(),
            "the weights of `other` are 99 per cent together"
        );
        assert_eq!(policy(&["m:1=50", "m:1=50"]).unwrap_err(), "`m:1` has two weights");
        assert_eq!(
            policy(&["m:9=50"]).unwrap_err(),
            "--weight is for `m:9`, which is not served"
        );
        for wrong in ["m=1", "m:1", "m:1=", "m:1=101", ":1=5", "m:=5", "m:1=-1", "m:1=x"] {
            assert!(policy(&[wrong]).unwrap_err().contains("is not NAME:VERSION"), "{wrong}");
        }
    }
}
