//! Places that tenants take in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Bounds how many do something at once; where more want to, each tenant in turn gets the next place.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Those that wait, by tenant; the first tenant is the next, and none has nobody waiting.
    waiting: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Place>>)>,
}

/// Is a place, which the next gets once it is dropped.
#[derive(Debug)]
pub struct Place(Option<Arc<Turns>>);

impl Turns {
    /// Makes so many places; at least one.
    pub fn new(places: usize) -> Arc<Turns> {
        Arc::new(Turns {
            state: Mutex::new(State {
                free: places.max(1),
                waiting: VecDeque::new(),
            }),
        })
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Self>, tenant: &Arc<str>) -> Place {
        let called = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(Arc::clone(self)));
            }
            let (call, called) = oneshot::channel();
            match state.waiting.iter_mut().find(|(other, _)| other == tenant) {
                Some((_, calls)) => calls.push_back(call),
                None => state.waiting.push_back((Arc::clone(tenant), VecDeque::from([call]))),
            }
            called
        };
        // Whoever waits is called, for as long as there are places: a sender is dropped only with a place in it.
        called.await.unwrap_or(Place(None))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place that is free to who is next.
    fn pass_on(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                let Some((tenant, mut calls)) = state.waiting.pop_front() else {
                    state.free += 1;
                    return;
                };
                // Whoever left does not take the turn of others of the tenant.
                calls.retain(|call| !call.is_closed());
                let next = calls.pop_front();
                if !calls.is_empty() {
                    state.waiting.push_back((tenant, calls));
                }
                next
            };
            let Some(next) = next else { continue };
            match next.send(Place(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // Nobody waits there any more; the place is not to be passed on twice.
                Err(mut place) => drop(place.0.take()),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Entering<'a> = std::pin::Pin<Box<dyn Future<Output = Place> + 'a>>;

    fn poll(entering: &mut Entering<'_>) -> Option<Place> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn tenants_get_places_in_turn_and_who_left_gets_none() {
        let turns = Turns::new(1);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let Poll::Ready(mut held) = pin!(turns.enter(&a)).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a place was free");
        };
        let mut waiting: Vec<(char, Entering<'_>)> = Vec::new();
        for (name, tenant) in [('a', &a), ('a', &a), ('a', &a), ('b', &b), ('b', &b)] {
            let mut entering: Entering<'_> = Box::pin(turns.enter(tenant));
            assert!(poll(&mut entering).is_none());
            waiting.push((name, entering));
        }
        // The first of `b` leaves.
        drop(waiting.remove(3));
        let mut order = String::new();
        while !waiting.is_empty() {
            drop(held);
            let called: Vec<(usize, Place)> = waiting
                .iter_mut()
                .enumerate()
                .filter_map(|(at, (_, entering))| poll(entering).map(|place| (at, place)))
                .collect();
            let [(at, place)] = <[_; 1]>::try_from(called).expect("one place is passed on");
            order.push(waiting.remove(at).0);
            held = place;
        }
        assert_eq!(order, "abaa");
        drop(held);
        assert_eq!(turns.lock().free, 1);
    }
}
