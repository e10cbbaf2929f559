//! The versions of one name, and which of them answers a call that names none. Pure.

use std::sync::{Arc, Mutex};

use super::{State, Version};

/// Holds the versions of a name, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub slots: Vec<Slot>,
}

/// Is the place of one version.
#[derive(Debug)]
pub(super) struct Slot {
    pub version: Version,
    pub state: State,
    /// Held by who loads, wakes or ends this version: one at a time.
    pub busy: Arc<Mutex<()>>,
    /// What part of the calls without a version it answers. Units: per cent.
    pub percent: Option<u8>,
    /// How much memory it took when it was loaded last.
    pub resident_bytes: Option<u64>,
}

impl Family {
    /// Finds a version.
    pub fn slot(&self, version: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.version == version)
    }

    /// Finds a version, to change it.
    pub fn slot_mut(&mut self, version: &str) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.version == version)
    }

    /// Chooses the version for a call that names none: by weight, or else the last that was not unloaded.
    ///
    /// `draw` gives a number that is as likely as any other; equal numbers choose alike as long as the same versions answer.
    pub fn choose(&self, draw: impl FnOnce() -> u64) -> Option<&Slot> {
        let latest = || {
            let mut loaded = self.slots.iter().rev();
            let found = loaded.find(|slot| !matches!(slot.state, State::Unloaded));
            found.or_else(|| self.slots.last())
        };
        if self.slots.iter().all(|slot| slot.percent.is_none()) {
            return latest();
        }
        let given: u64 = self.slots.iter().filter_map(|slot| slot.percent).map(u64::from).sum();
        // What is left of 100 is shared by those that have no weight; scaled by their number, all shares are whole.
        let others = self.slots.iter().filter(|slot| slot.percent.is_none()).count().max(1) as u64;
        let share = |slot: &Slot| match (slot.state.answers(), slot.percent) {
            (false, _) => 0,
            (true, Some(percent)) => u64::from(percent) * others,
            (true, None) => 100u64.saturating_sub(given),
        };
        let total: u64 = self.slots.iter().map(share).sum();
        if total == 0 {
            return latest();
        }
        // The high bits decide, so that a share is one range of all numbers and a small change of it moves few.
        let mut at = ((u128::from(draw()) * u128::from(total)) >> 64) as u64;
        self.slots.iter().find(|slot| {
            let share = share(slot);
            let is_it = at < share;
            at = at.saturating_sub(share);
            is_it
        })
    }
}

/// Gives a session's own number, the same on every server and after every start.
pub(super) fn draw_of(session: &str) -> u64 {
    // FNV-1a, whose high bits are then stirred: sessions that differ in the last character alone must not be neighbours.
    let hash = session.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::serve::SourceError;
    use crate::serve::repository::tests::profile;

    fn family(slots: &[(&str, Option<u8>, State)]) -> Family {
        let slot = |(version, percent, state): &(&str, Option<u8>, State)| Slot {
            version: (*version).to_owned(),
            state: state.clone(),
            busy: Arc::default(),
            percent: *percent,
            resident_bytes: None,
        };
        Family {
            slots: slots.iter().map(slot).collect(),
        }
    }

    fn able() -> State {
        State::Asleep(profile())
    }

    /// Counts what 10,000 numbers of a seeded generator choose.
    fn counts(family: &Family) -> BTreeMap<String, usize> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            let slot = family.choose(|| random.u64(..)).unwrap();
            *counts.entry(slot.version.clone()).or_insert(0) += 1;
        }
        counts
    }

    #[track_caller]
    fn near(found: &BTreeMap<String, usize>, version: &str, wanted: usize) {
        let count = found.get(version).copied().unwrap_or(0);
        // Three standard deviations of the widest of these.
        assert!(count.abs_diff(wanted) <= 150, "{version}: {found:?}");
    }

    #[test]
    fn versions_are_chosen_by_weight() {
        let two = family(&[("1", Some(90), able()), ("2", None, able())]);
        let found = counts(&two);
        near(&found, "1", 9000);
        near(&found, "2", 1000);
        let three = family(&[("1", Some(50), able()), ("2", None, able()), ("3", None, able())]);
        let found = counts(&three);
        near(&found, "1", 5000);
        near(&found, "2", 2500);
        near(&found, "3", 2500);
        let none = family(&[("1", Some(100), able()), ("2", Some(0), able())]);
        assert_eq!(counts(&none), [("1".to_owned(), 10_000)].into());
    }

    #[test]
    fn a_version_that_does_not_answer_is_not_chosen() {
        let failed = || State::Failed(SourceError("no".into()));
        let canary = family(&[("1", Some(90), able()), ("2", Some(10), failed())]);
        assert_eq!(counts(&canary), [("1".to_owned(), 10_000)].into());
        let neither = family(&[("1", Some(90), failed()), ("2", Some(10), failed())]);
        assert_eq!(neither.choose(|| 0).unwrap().version, "2");
    }

    #[test]
    fn without_weights_the_last_that_was_not_unloaded_is_chosen() {
        let all = family(&[("1", None, able()), ("2", None, able())]);
        assert_eq!(all.choose(|| 0).unwrap().version, "2");
        let one = family(&[("1", None, able()), ("2", None, State::Unloaded)]);
        assert_eq!(one.choose(|| 0).unwrap().version, "1");
        assert!(Family::default().choose(|| 0).is_none());
    }

    #[test]
    fn a_session_stays_with_its_version_and_few_move_when_weights_change() {
        let with = |percent| family(&[("1", Some(percent), able()), ("2", None, able())]);
        let (before, after) = (with(90), with(80));
        let mut first = 0;
        let mut moved = 0;
        for session in 0..10_000 {
            let draw = draw_of(&format!("session-{session}"));
            let chosen = &before.choose(|| draw).unwrap().version;
            assert_eq!(chosen, &before.choose(|| draw).unwrap().version);
            first += usize::from(chosen == "1");
            moved += usize::from(chosen != &after.choose(|| draw).unwrap().version);
        }
        assert!(first.abs_diff(9000) <= 150, "{first}");
        assert!(moved.abs_diff(1000) <= 150, "{moved}");
    }
}
