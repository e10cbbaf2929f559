use std::time::Duration;

use super::{Configuration, Deviation};
use crate::runtime::{ConvolutionSearch, ProviderKind, Settings};

/// How much slower than the best so far a provider may be as it is, for its options to be worth a try.
const HOPELESS: u32 = 12;
/// What an option must gain to be kept: less is noise, and every option has its price in memory or load time.
const GAIN: f64 = 0.98;

/// Below this a call is short enough that starting threads and finding memory take a share of it.
const SMALL: Duration = Duration::from_millis(10);

/// Says how much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Each provider as it is, and the one combination of its options that is most often the best.
    Short,
    /// Each option of each provider, one after the other, kept where it gains.
    Full,
}

/// Is what one trial came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It ran; the median of its runs, and how far its outputs lie from the reference's.
    Ran { median: Duration, deviation: Deviation },
    /// It did not; the text says why.
    Failed(String),
}

/// Is a configuration that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub configuration: Configuration,
    pub outcome: Outcome,
}

impl Trial {
    /// Gives the time, where the trial may win: it ran, and its outputs are right.
    pub fn time(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Ran { median, deviation } if deviation.is_within(tolerance(&self.configuration.settings)) => {
                Some(median)
            }
            _ => None,
        }
    }
}

/// Gives how far outputs may lie from the reference's: 1e-3 where numbers are computed as the model says, 1e-2 with TF32
/// or fp16, which have 10 bits of mantissa.
pub fn tolerance(settings: &Settings) -> f64 {
    if settings.reduced_precision().is_empty() {
        1e-3
    } else {
        1e-2
    }
}

/// Tries configurations of `providers` and gives all trials, the one to choose first and the failed last.
///
/// That is the first tried, and so the plainest, of those that are as fast as the fastest within 2 %.
///
/// `exact` leaves out what computes in other number formats than the model's.
pub fn search(
    providers: &[ProviderKind],
    effort: Effort,
    exact: bool,
    mut run: impl FnMut(&Configuration) -> Outcome,
) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for &provider in providers {
        let mut best = try_one(Configuration::plain(provider), &mut trials, &mut run);
        let is_small = time_of(&trials, &best).is_some_and(|time| time < SMALL);
        let steps: Vec<Step> = steps(provider)
            .into_iter()
            .filter(|step| (!exact || !step.reduces) && (!step.small || is_small))
            .collect();
        let fastest = trials.iter().filter_map(Trial::time).min();
        let hopeless = match (time_of(&trials, &best), fastest) {
            (Some(time), Some(fastest)) => time > fastest * HOPELESS,
            _ => true,
        };
        // A recorded graph hides what makes a provider slow as it is.
        if hopeless && !steps.iter().any(|step| step.name == GRAPH) || time_of(&trials, &best).is_none() {
            continue;
        }
        match effort {
            Effort::Short => {
                let mut all = best.clone();
                for step in steps.iter().filter(|step| step.often) {
                    (step.change)(&mut all);
                }
                let all = try_one(all, &mut trials, &mut run);
                if all.settings.cuda_graph && time_of(&trials, &all).is_none() {
                    // What most often fails is that a model cannot be recorded.
                    let mut without = all;
                    without.settings.cuda_graph = false;
                    try_one(without, &mut trials, &mut run);
                }
            }
            Effort::Full => {
                for step in &steps {
                    let is_recorded = |trial: &Trial| {
                        trial.configuration.provider == provider && trial.configuration.settings.cuda_graph
                    };
                    let mut recorded = trials.iter().filter(|trial| is_recorded(trial));
                    if step.name == GRAPH && recorded.any(|trial| trial.time().is_none()) {
                        continue;
                    }
                    let mut changed = best.clone();
                    (step.change)(&mut changed);
                    let changed = try_one(changed, &mut trials, &mut run);
                    if gains(time_of(&trials, &changed), time_of(&trials, &best)) {
                        best = changed;
                    }
                }
            }
        }
    }
    let fastest = trials.iter().filter_map(Trial::time).min();
    let near = |trial: &Trial| trial.time().is_some_and(|time| Some(time.mul_f64(GAIN)) <= fastest);
    let chosen = trials.iter().position(near);
    if let Some(at) = chosen {
        trials[..=at].rotate_right(1);
    }
    let others = usize::from(chosen.is_some());
    trials[others..].sort_by_key(|trial| (trial.time().is_none(), trial.time()));
    trials
}

fn try_one(
    configuration: Configuration,
    trials: &mut Vec<Trial>,
    run: &mut impl FnMut(&Configuration) -> Outcome,
) -> Configuration {
    if !trials.iter().any(|trial| trial.configuration == configuration) {
        let outcome = run(&configuration);
        trials.push(Trial {
            configuration: configuration.clone(),
            outcome,
        });
    }
    configuration
}

fn time_of(trials: &[Trial], configuration: &Configuration) -> Option<Duration> {
    trials
        .iter()
        .find(|trial| trial.configuration == *configuration)?
        .time()
}

fn gains(changed: Option<Duration>, best: Option<Duration>) -> bool {
    match (changed, best) {
        (Some(changed), Some(best)) => changed.as_secs_f64() < best.as_secs_f64() * GAIN,
        (changed, None) => changed.is_some(),
        (None, Some(_)) => false,
    }
}

/// Is one option that may make a provider faster.
struct Step {
    name: &'static str,
    /// Whether it most often does, so that a short search tries it.
    often: bool,
    /// Whether it computes in another number format than the model's.
    reduces: bool,
    /// Whether it helps short calls alone.
    small: bool,
    change: fn(&mut Configuration),
}

const GRAPH: &str = "graph";

/// Lists the options of a provider in the order in which they are tried: a recorded graph first, because the time that it
/// takes to start kernels hides what the others gain.
fn steps(provider: ProviderKind) -> Vec<Step> {
    let step = |name, often, change| Step {
        name,
        often,
        reduces: false,
        small: false,
        change,
    };
    let small = |name, often, change| Step {
        name,
        often,
        reduces: false,
        small: true,
        change,
    };
    let reduces = |name, often, change| Step {
        name,
        often,
        reduces: true,
        small: false,
        change,
    };
    match provider {
        ProviderKind::Cuda => vec![
            step(GRAPH, true, |c| c.settings.cuda_graph = true),
            // Without a search cuDNN's algorithms use neither TF32 nor the order of channels.
            step("search", true, |c| {
                c.settings.convolution_search = ConvolutionSearch::Exhaustive;
            }),
            reduces("tf32", true, |c| c.settings.tf32 = true),
            step("nhwc", true, |c| c.settings.nhwc = true),
            // With channels first ONNX Runtime's fused convolutions give wrong numbers or do not start.
            step("bias", true, |c| c.settings.fuse_bias = c.settings.nhwc),
            // Once more, where kernels were so slow before that starting them made no difference.
            step(GRAPH, false, |c| c.settings.cuda_graph = true),
        ],
        ProviderKind::TensorRt => vec![
            step(GRAPH, true, |c| c.settings.cuda_graph = true),
            reduces("fp16", false, |c| c.settings.fp16 = true),
        ],
        ProviderKind::TensorRtRtx => vec![step(GRAPH, true, |c| c.settings.cuda_graph = true)],
        ProviderKind::MiGraphX | ProviderKind::CoreMl | ProviderKind::Qnn => {
            vec![reduces("fp16", false, |c| c.settings.fp16 = true)]
        }
        ProviderKind::Cpu => vec![
            small("one thread", true, |c| c.threads = Some(1)),
            small("no arena", false, |c| c.settings.no_arena = true),
        ],
        ProviderKind::Embedded => vec![small("one thread", true, |c| c.threads = Some(1))],
        ProviderKind::DirectMl | ProviderKind::OpenVino | ProviderKind::WebGpu => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(microseconds: u64) -> Outcome {
        Outcome::Ran {
            median: Duration::from_micros(microseconds),
            deviation: Deviation::Relative(1e-6),
        }
    }

    /// Stands for a machine on which each option of CUDA has an effect of its own.
    fn machine(configuration: &Configuration) -> Outcome {
        let settings = &configuration.settings;
        match configuration.provider {
            ProviderKind::Cpu => ran(9_000),
            ProviderKind::Cuda => {
                let mut time = 2_300;
                time -= if settings.tf32 { 1_000 } else { 0 };
                time -= if settings.cuda_graph { 300 } else { 0 };
                time += if settings.nhwc && settings.convolution_search == ConvolutionSearch::Default {
                    500
                } else {
                    0
                };
                time -= if settings.nhwc { 200 } else { 0 };
                time -= if settings.fuse_bias { 5 } else { 0 };
                ran(time)
            }
            other => Outcome::Failed(format!("{other} is not here")),
        }
    }

    #[test]
    fn a_full_search_keeps_what_gains_and_gives_the_best_first() {
        let trials = search(&[ProviderKind::Cpu, ProviderKind::Cuda], Effort::Full, false, machine);
        let best = &trials[0];
        assert!(best.configuration.settings.tf32 && best.configuration.settings.cuda_graph);
        let fastest = trials.iter().filter_map(Trial::time).min().unwrap();
        assert!(
            best.time().unwrap() < fastest.mul_f64(1.05),
            "nothing measured is much faster than what is chosen"
        );
        assert!(
            !best.configuration.settings.fuse_bias,
            "what gains less than noise is left out"
        );
        let tries = trials.len();
        let distinct: std::collections::HashSet<_> = trials.iter().map(|trial| format!("{trial:?}")).collect();
        assert_eq!(distinct.len(), tries, "nothing is tried twice");
    }

    #[test]
    fn an_exact_search_tries_nothing_that_rounds() {
        for effort in [Effort::Short, Effort::Full] {
            let trials = search(&[ProviderKind::Cuda, ProviderKind::TensorRt], effort, true, machine);
            let rounds = |trial: &Trial| !trial.configuration.settings.reduced_precision().is_empty();
            assert!(!trials.iter().any(rounds), "{trials:?}");
        }
    }

    #[test]
    fn a_tiny_model_goes_where_it_is_fastest_and_the_gpu_is_not_tuned_for_it() {
        let tiny = |configuration: &Configuration| match (configuration.provider, configuration.threads) {
            (ProviderKind::Embedded, _) => ran(2),
            (ProviderKind::Cpu, Some(1)) => ran(3),
            (ProviderKind::Cpu, _) => ran(8),
            _ => ran(870),
        };
        let providers = [ProviderKind::Embedded, ProviderKind::Cpu, ProviderKind::WebGpu];
        let trials = search(&providers, Effort::Full, false, tiny);
        assert_eq!(trials[0].configuration.provider, ProviderKind::Embedded);
    }

    #[test]
    fn wrong_outputs_and_failures_never_win() {
        let wrong = |configuration: &Configuration| match configuration.provider {
            ProviderKind::WebGpu => Outcome::Ran {
                median: Duration::from_micros(1),
                deviation: Deviation::Relative(0.5),
            },
            ProviderKind::Cpu => ran(100),
            _ => Outcome::Failed("it crashed".to_owned()),
        };
        let providers = [ProviderKind::WebGpu, ProviderKind::Cuda, ProviderKind::Cpu];
        let trials = search(&providers, Effort::Full, false, wrong);
        assert_eq!(trials[0].configuration.provider, ProviderKind::Cpu);
        assert!(trials.last().unwrap().time().is_none());
        let cuda = trials
            .iter()
            .filter(|trial| trial.configuration.provider == ProviderKind::Cuda);
        assert_eq!(cuda.count(), 1, "what fails as it is is not tried with options");
    }

    #[test]
    fn a_short_search_tries_each_provider_as_it_is_and_with_its_usual_options() {
        let trials = search(&[ProviderKind::Cuda, ProviderKind::Cpu], Effort::Short, false, machine);
        assert_eq!(trials.len(), 4);
        assert!(trials[0].configuration.settings.tf32);
    }
}
