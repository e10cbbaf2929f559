//! The requests that wait for a model, and which of them go together. Pure: it is told the time.
//!
//! Tenants take turns. Each request is stamped with when it would start if its tenant's rows went one after the other, on a
//! clock that stands at the request answered last; the lowest stamp goes first (start-time fair queueing). A tenant alone
//! is answered in the order in which it asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::predict::batch::Candidate;
use crate::runtime::Cancel;
use crate::serve::Error;
use crate::tensor::{Tensor, memory};

use super::{Answer, Words};

/// Is a request that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub inputs: Vec<Tensor>,
    /// As [`size_of`] gives it.
    pub input_bytes: u64,
    pub words: Option<Words>,
    pub tenant: Arc<str>,
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

/// Gives how many bytes tensors take; those with strings count as larger than any.
pub(super) fn size_of(tensors: &[Tensor]) -> u64 {
    let size = |tensor| memory::bytes(tensor).map_or(u64::MAX, |bytes| bytes.len() as u64);
    tensors.iter().map(size).fold(0, u64::saturating_add)
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
    /// By urgency; lower is more urgent. None is empty.
    classes: BTreeMap<u64, Class>,
    arrivals: u64,
    /// How many requests of each tenant wait; none is 0.
    waiting: HashMap<Arc<str>, usize>,
}

/// Holds the requests of one urgency.
#[derive(Debug, Default)]
struct Class {
    /// By stamp, then by arrival. Units of the stamp: rows.
    jobs: BTreeMap<(u64, u64), Job>,
    /// The stamp of the request that was answered last.
    clock: u64,
    /// Where the rows of each tenant end.
    ends: HashMap<Arc<str>, u64>,
}

/// Says where a request stands: its urgency, its stamp and its arrival.
type Place = (u64, u64, u64);

impl Class {
    fn stamp(&mut self, job: &Job) -> u64 {
        let end = self.ends.get(&job.tenant).copied().unwrap_or(0);
        let start = self.clock.max(end);
        let end = start.saturating_add(rows_of(job));
        self.ends.insert(Arc::clone(&job.tenant), end);
        start
    }
}

/// Gives what a request counts for.
fn rows_of(job: &Job) -> u64 {
    u64::try_from(job.candidate.rows).unwrap_or(u64::MAX).max(1)
}

impl Queue {
    /// Counts the requests that wait.
    pub fn len(&self) -> usize {
        self.classes.values().map(|class| class.jobs.len()).sum()
    }

    /// Puts a request behind those of its urgency, in its tenant's turn.
    pub fn push(&mut self, urgency: u64, job: Job) {
        *self.waiting.entry(Arc::clone(&job.tenant)).or_default() += 1;
        let class = self.classes.entry(urgency).or_default();
        let stamp = class.stamp(&job);
        class.jobs.insert((stamp, self.arrivals), job);
        self.arrivals += 1;
    }

    /// Makes room in a full queue for a request of a tenant: takes out the last request of the tenant that has the most
    /// of them, unless that would leave it with fewer than the other.
    pub fn make_room_for(&mut self, tenant: &Arc<str>) -> Option<Job> {
        let longest = self.longer_than(tenant)?;
        let last = self.places().rev().find(|(_, job)| job.tenant == longest);
        let (place, _) = last?;
        self.withdraw(place)
    }

    /// Finds the tenant that has the most requests, where it would have as many as another after giving one up.
    pub fn longer_than(&self, tenant: &Arc<str>) -> Option<Arc<str>> {
        let own = self.waiting.get(tenant).copied().unwrap_or(0);
        let (longest, &count) = self.waiting.iter().max_by_key(|(_, count)| **count)?;
        (count > own + 1).then(|| Arc::clone(longest))
    }

    /// Takes out what is no longer wanted: the abandoned, and those whose deadline is over.
    pub fn take_stale(&mut self, now: Instant) -> Vec<Job> {
        let is_late = |job: &Job| job.deadline.is_some_and(|deadline| deadline <= now);
        let stale = self.places().filter(|(_, job)| job.is_abandoned() || is_late(job));
        let stale: Vec<Place> = stale.map(|(place, _)| place).collect();
        stale.into_iter().filter_map(|place| self.withdraw(place)).collect()
    }

    /// Takes the most urgent request and those that go with it, unless it is worth waiting for more of them.
    pub fn next(&mut self, joining: Joining, now: Instant) -> Next {
        let Some((_, first)) = self.places().next() else {
            return Next::Nothing;
        };
        let until = first.arrived + joining.delay;
        let (places, is_full) = self.together(joining);
        if !is_full && now < until {
            return Next::Until(until);
        }
        for &place in &places {
            self.advance(place);
        }
        Next::Jobs(places.into_iter().filter_map(|place| self.remove(place)).collect())
    }

    /// Tells whether no other request can join those that are next.
    pub fn is_full(&self, joining: Joining) -> bool {
        self.together(joining).1
    }

    /// Finds the most urgent request and those that go with it, and whether no other can join them.
    fn together(&self, joining: Joining) -> (Vec<Place>, bool) {
        let mut all = self.places();
        let Some((place, first)) = all.next() else {
            return (Vec::new(), false);
        };
        let key = first.candidate.key.as_ref();
        let mut places = vec![place];
        let mut rows = first.candidate.rows;
        if key.is_none() || rows >= joining.most_rows {
            return (places, true);
        }
        for (place, job) in all.filter(|(_, job)| job.candidate.key.as_ref() == key) {
            // Those behind one that does not fit do not overtake it.
            if rows.saturating_add(job.candidate.rows) > joining.most_rows {
                return (places, true);
            }
            rows += job.candidate.rows;
            places.push(place);
            if rows >= joining.most_rows {
                return (places, true);
            }
        }
        (places, false)
    }

    /// Takes the most urgent request, where it is one that is wanted.
    pub fn next_if(&mut self, wanted: impl Fn(&Job) -> bool) -> Option<Job> {
        let (place, job) = self.places().next()?;
        if !wanted(job) {
            return None;
        }
        self.advance(place);
        self.remove(place)
    }

    /// Sets the clock of a class to a request that is answered.
    fn advance(&mut self, (urgency, stamp, _): Place) {
        if let Some(class) = self.classes.get_mut(&urgency) {
            class.clock = class.clock.max(stamp);
        }
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<Job> {
        self.waiting.clear();
        let classes = std::mem::take(&mut self.classes);
        classes
            .into_values()
            .flat_map(|class| class.jobs.into_values())
            .collect()
    }

    /// Goes through the requests in the order in which they are answered.
    fn places(&self) -> impl DoubleEndedIterator<Item = (Place, &Job)> {
        self.classes.iter().flat_map(|(&urgency, class)| {
            let each = class.jobs.iter();
            each.map(move |(&(stamp, arrival), job)| ((urgency, stamp, arrival), job))
        })
    }

    /// Takes out a request that is not answered, so that it counts for nothing.
    fn withdraw(&mut self, place: Place) -> Option<Job> {
        let job = self.remove(place)?;
        let class = self.classes.get_mut(&place.0);
        if let Some(end) = class.and_then(|class| class.ends.get_mut(&job.tenant)) {
            *end = end.saturating_sub(rows_of(&job));
        }
        Some(job)
    }

    fn remove(&mut self, (urgency, stamp, arrival): Place) -> Option<Job> {
        let class = self.classes.get_mut(&urgency)?;
        let job = class.jobs.remove(&(stamp, arrival))?;
        if class.jobs.is_empty() {
            // Whoever comes next is in nobody's debt.
            self.classes.remove(&urgency);
        }
        if let Some(count) = self.waiting.get_mut(&job.tenant) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&job.tenant);
            }
        }
        Some(job)
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
            self.push_of("", (urgency, rows, columns), at);
        }

        fn push_of(&mut self, tenant: &str, (urgency, rows, columns): (u64, usize, usize), at: u32) {
            let inputs = vec![Tensor::from_vec([rows, columns], vec![0f32; rows * columns]).unwrap()];
            let (answer, receiver) = oneshot::channel();
            self.receivers.push(receiver);
            self.queue.push(
                urgency,
                Job {
                    candidate: stacking().candidate(&inputs),
                    input_bytes: size_of(&inputs),
                    inputs,
                    words: None,
                    tenant: tenant.into(),
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
        let jobs = &mut bench.queue.classes.get_mut(&0).unwrap().jobs;
        let places: Vec<_> = jobs.keys().copied().collect();
        jobs.get_mut(&places[1]).unwrap().deadline = Some(bench.start + MS);
        jobs.get_mut(&places[2]).unwrap().cancel.cancel();
        assert_eq!(bench.queue.take_stale(bench.start).len(), 2);
        assert_eq!(bench.queue.take_stale(bench.start + MS).len(), 1);
        assert_eq!(bench.queue.len(), 1);
    }

    /// The tenants of the next requests, one a call.
    fn turns(bench: &mut Bench, count: usize) -> String {
        let joining = Joining {
            most_rows: 1,
            delay: Duration::ZERO,
        };
        let mut turns = String::new();
        for _ in 0..count {
            if let Next::Jobs(jobs) = bench.queue.next(joining, bench.start) {
                turns.push_str(&jobs[0].tenant);
            }
        }
        turns
    }

    #[test]
    fn tenants_take_turns_however_many_requests_one_has_waiting() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.push_of("a", (0, 1, 3), 0);
        }
        assert_eq!(turns(&mut bench, 10), "aaaaaaaaaa");
        for _ in 0..3 {
            bench.push_of("b", (0, 1, 3), 1);
        }
        bench.push_of("c", (0, 1, 3), 2);
        // Each waits for one request of each other, and for the one of `a` whose turn it is.
        let turns = turns(&mut bench, 8);
        assert!(
            turns.find('b').unwrap() <= 2 && turns.find('c').unwrap() <= 3,
            "{turns}"
        );
        assert!(turns.rfind('b').unwrap() <= 6, "{turns}");
    }

    #[test]
    fn a_tenant_that_asks_again_at_once_gets_every_second_call_and_no_more() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.push_of("a", (0, 1, 3), 0);
        }
        bench.push_of("b", (0, 1, 3), 0);
        let mut all = String::new();
        for _ in 0..40 {
            let turn = turns(&mut bench, 1);
            if turn == "b" {
                bench.push_of("b", (0, 1, 3), 0);
            }
            all.push_str(&turn);
        }
        assert!((19..=21).contains(&all.matches('b').count()), "{all}");
        assert!(!all.contains("aaa") && !all.contains("bbb"), "{all}");
    }

    #[test]
    fn rows_count_and_not_requests_and_urgency_goes_before_turns() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            bench.push_of("a", (5, 4, 3), 0);
            bench.push_of("b", (5, 1, 3), 0);
        }
        bench.push_of("a", (1, 1, 3), 0);
        let turns = turns(&mut bench, 21);
        assert!(turns.starts_with('a'), "{turns}");
        assert!((15..=17).contains(&turns.matches('b').count()), "{turns}");
    }

    #[test]
    fn a_tenant_that_floods_gives_up_its_last_requests_for_those_of_another() {
        let mut bench = Bench::new();
        for at in 0..6 {
            bench.push_of("a", (0, 1, 3), at);
        }
        let tenant: Arc<str> = "b".into();
        for left in [5, 4, 3] {
            let job = bench.queue.make_room_for(&tenant).unwrap();
            assert_eq!((&*job.tenant, job.arrived), ("a", bench.start + MS * left));
            bench.push_of("b", (0, 1, 3), 9);
        }
        assert!(bench.queue.make_room_for(&tenant).is_none());
        assert!(bench.queue.make_room_for(&"a".into()).is_none());
        assert!(bench.queue.make_room_for(&"c".into()).is_some());
        assert_eq!(bench.queue.drain().len(), 5);
        assert!(bench.queue.make_room_for(&tenant).is_none());
    }
}
