//! The requests that wait for a model, and which of them go together. Pure: it is told the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::predict::batch::Candidate;
use crate::runtime::Cancel;
use crate::serve::Error;
use crate::tensor::Tensor;

use super::{Answer, Words};

/// Is a request that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub inputs: Vec<Tensor>,
    pub words: Option<Words>,
    pub candidate: Candidate,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub cancel: Cancel,
    pub answer: oneshot::Sender<Result<Answer, Error>>,
}

impl Job {
    /// Tells whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed() || self.cancel.is_cancelled()
    }

    /// Refuses the request; a client that left hears nothing.
    pub fn refuse(self, error: Error) {
        let _ = self.answer.send(Err(error));
    }
}

/// Says how requests are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joining {
    /// The most rows of one call; 1 joins nothing.
    pub most_rows: usize,
    /// How long the first request waits for others.
    pub delay: Duration,
}

/// Is what an instance is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing waits.
    Nothing,
    /// Others may come until then.
    Until(Instant),
    /// These are answered by one call.
    Jobs(Vec<Job>),
}

/// Holds the requests that wait, the most urgent first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By urgency (lower is more urgent), then by arrival.
    jobs: BTreeMap<(u64, u64), Job>,
    arrivals: u64,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn push(&mut self, urgency: u64, job: Job) {
        self.jobs.insert((urgency, self.arrivals), job);
        self.arrivals += 1;
    }

    /// Takes out what is no longer wanted: the abandoned, and those whose deadline is over.
    pub fn take_stale(&mut self, now: Instant) -> Vec<Job> {
        let is_late = |job: &Job| job.deadline.is_some_and(|deadline| deadline <= now);
        self.jobs
            .extract_if(.., |_, job| job.is_abandoned() || is_late(job))
            .map(|(_, job)| job)
            .collect()
    }

    /// Takes the most urgent request and those that go with it, unless it is worth waiting for more of them.
    pub fn next(&mut self, joining: Joining, now: Instant) -> Next {
        let Some((_, first)) = self.jobs.first_key_value() else {
            return Next::Nothing;
        };
        let mut rows = first.candidate.rows;
        let mut keys: Vec<(u64, u64)> = Vec::new();
        let mut is_full = first.candidate.key.is_none() || rows >= joining.most_rows;
        let key = first.candidate.key.as_ref();
        let until = first.arrived + joining.delay;
        for (at, (&place, job)) in self.jobs.iter().enumerate() {
            if at == 0 {
                keys.push(place);
            } else if is_full {
                break;
            } else if job.candidate.key.as_ref() == key {
                if rows.saturating_add(job.candidate.rows) > joining.most_rows {
                    // Those behind it do not overtake it.
                    is_full = true;
                    break;
                }
                rows += job.candidate.rows;
                keys.push(place);
                is_full = rows >= joining.most_rows;
            }
        }
        if !is_full && now < until {
            return Next::Until(until);
        }
        Next::Jobs(keys.iter().filter_map(|place| self.jobs.remove(place)).collect())
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::batch::Stacking;
    use crate::tensor::{DType, Dim, Port, Shape, Signature, TensorName};

    const MS: Duration = Duration::from_millis(1);

    fn stacking() -> Stacking {
        let ports = || {
            vec![Port {
                name: TensorName::new("x"),
                dtype: DType::F32,
                shape: Shape::of([Dim::Symbol("N".into()), Dim::Unknown]),
            }]
        };
        Stacking::of(&Signature {
            inputs: ports(),
            outputs: ports(),
        })
        .unwrap()
    }

    struct Bench {
        queue: Queue,
        start: Instant,
        receivers: Vec<oneshot::Receiver<Result<Answer, Error>>>,
    }

    impl Bench {
        fn new() -> Self {
            Bench {
                queue: Queue::default(),
                start: Instant::now(),
                receivers: Vec::new(),
            }
        }

        /// Adds a request of `rows` × `columns` that arrived after `at` milliseconds.
        fn push(&mut self, urgency: u64, rows: usize, columns: usize, at: u32) {
            let inputs = vec![Tensor::from_vec([rows, columns], vec![0f32; rows * columns]).unwrap()];
            let (answer, receiver) = oneshot::channel();
            self.receivers.push(receiver);
            self.queue.push(
                urgency,
                Job {
                    candidate: stacking().candidate(&inputs),
                    inputs,
                    words: None,
                    arrived: self.start + MS * at,
                    deadline: None,
                    cancel: Cancel::default(),
                    answer,
                },
            );
        }

        /// Gives the shapes of the requests that are taken after `at` milliseconds.
        fn next(&mut self, most_rows: usize, delay: u32, at: u32) -> Option<Vec<Vec<usize>>> {
            let joining = Joining {
                most_rows,
                delay: MS * delay,
            };
            match self.queue.next(joining, self.start + MS * at) {
                Next::Jobs(jobs) => Some(jobs.iter().map(|job| job.inputs[0].shape().to_vec()).collect()),
                Next::Until(until) => {
                    assert!(until > self.start + MS * at);
                    None
                }
                Next::Nothing => Some(Vec::new()),
            }
        }
    }

    #[test]
    fn requests_of_one_shape_go_together_up_to_the_bound() {
        let mut bench = Bench::new();
        for columns in [3, 3, 4, 3, 4] {
            bench.push(0, 1, columns, 0);
        }
        assert_eq!(bench.next(2, 0, 0), Some(vec![vec![1, 3], vec![1, 3]]));
        assert_eq!(bench.next(2, 0, 0), Some(vec![vec![1, 4], vec![1, 4]]));
        assert_eq!(bench.next(2, 0, 0), Some(vec![vec![1, 3]]));
        assert_eq!(bench.next(2, 0, 0), Some(vec![]));
    }

    #[test]
    fn the_first_waits_for_others_no_longer_than_the_delay() {
        let mut bench = Bench::new();
        bench.push(0, 1, 3, 0);
        assert_eq!(bench.next(4, 5, 4), None);
        bench.push(0, 1, 3, 4);
        assert_eq!(bench.next(4, 5, 4), None);
        assert_eq!(bench.next(4, 5, 5), Some(vec![vec![1, 3], vec![1, 3]]));
        for _ in 0..4 {
            bench.push(0, 1, 3, 6);
        }
        assert_eq!(bench.next(4, 5, 6).map(|jobs| jobs.len()), Some(4));
    }

    #[test]
    fn a_request_that_does_not_fit_ends_the_batch_and_is_not_overtaken() {
        let mut bench = Bench::new();
        for rows in [2, 3, 1] {
            bench.push(0, rows, 3, 0);
        }
        assert_eq!(bench.next(4, 9, 0), Some(vec![vec![2, 3]]));
        assert_eq!(bench.next(4, 9, 0), Some(vec![vec![3, 3], vec![1, 3]]));
        bench.push(0, 9, 3, 0);
        assert_eq!(bench.next(4, 9, 0), Some(vec![vec![9, 3]]));
    }

    #[test]
    fn urgent_requests_come_first() {
        let mut bench = Bench::new();
        bench.push(5, 1, 3, 0);
        bench.push(1, 1, 4, 1);
        bench.push(1, 1, 5, 2);
        let order: Vec<_> = (0..3).map(|_| bench.next(8, 0, 9).unwrap()).collect();
        assert_eq!(order, [[[1, 4]], [[1, 5]], [[1, 3]]]);
    }

    #[test]
    fn the_abandoned_and_the_late_are_taken_out() {
        let mut bench = Bench::new();
        for _ in 0..4 {
            bench.push(0, 1, 3, 0);
        }
        bench.receivers.remove(0);
        let places: Vec<_> = bench.queue.jobs.keys().copied().collect();
        bench.queue.jobs.get_mut(&places[1]).unwrap().deadline = Some(bench.start + MS);
        bench.queue.jobs.get_mut(&places[2]).unwrap().cancel.cancel();
        assert_eq!(bench.queue.take_stale(bench.start).len(), 2);
        assert_eq!(bench.queue.take_stale(bench.start + MS).len(), 1);
        assert_eq!(bench.queue.len(), 1);
    }
}
