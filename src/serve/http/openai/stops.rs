//! Texts that end what a model says. Pure.

/// Lets a text through part by part, up to the first of the texts that end it: the one that is whole first, and of those the longest.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    stops: Vec<String>,
    /// What may be the start of one of them.
    held: String,
    is_found: bool,
}

impl Stops {
    /// Ends a text before any of these, none of which is empty.
    pub fn new(stops: Vec<String>) -> Stops {
        Stops {
            stops,
            ..Stops::default()
        }
    }

    /// Takes a part of the text, and gives what is certain to come before its end.
    pub fn push(&mut self, part: &str) -> String {
        if self.is_found {
            return String::new();
        }
        self.held.push_str(part);
        let places = |stop: &String| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at));
        if let Some((_, at)) = self.stops.iter().filter_map(places).min() {
            self.is_found = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let starts = self.held.char_indices().map(|(at, _)| at);
        let may_start = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let certain = starts.into_iter().find(may_start).unwrap_or(self.held.len());
        let held = self.held.split_off(certain);
        std::mem::replace(&mut self.held, held)
    }

    /// Gives what was held back, at the end of the text.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Tells whether one of them came.
    pub fn is_found(&self) -> bool {
        self.is_found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(stops: &[&str], parts: &[&str]) -> (Vec<String>, bool) {
        let mut through = Stops::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut told: Vec<String> = parts.iter().map(|part| through.push(part)).collect();
        told.push(through.rest());
        (told, through.is_found())
    }

    #[test]
    fn what_may_be_the_start_of_an_end_is_held_back() {
        assert_eq!(
            told(&[], &["a", "b"]),
            (vec!["a".into(), "b".into(), String::new()], false)
        );
        let parts = &["one\n", "two", "\n", "\nthree"];
        let wanted = ["one", "\ntwo", "", "", ""].map(str::to_owned).to_vec();
        assert_eq!(told(&["\n\n"], parts), (wanted, true));
        assert_eq!(told(&["\n\n"], &["a\n"]), (vec!["a".into(), "\n".into()], false));
        // The first that comes counts, and not the first that is named.
        assert_eq!(told(&["c", "ab"], &["xa", "bc"]).0.concat(), "x");
        // What is whole ends the text, whatever longer one could still come of what stands before.
        for parts in [&["abab"][..], &["ab", "ab"], &["a", "bab"]] {
            assert_eq!(told(&["b", "abab"], parts).0.concat(), "a");
        }
        assert_eq!(told(&["b", "ab"], &["xa", "b"]).0.concat(), "x");
        assert_eq!(
            told(&["日本"], &["a日", "本b"]),
            (vec!["a".into(), String::new(), String::new()], true)
        );
    }

    proptest! {
        #[test]
        fn any_parts_of_a_text_end_where_the_whole_does(
            text in "[ab日]{0,30}",
            stops in prop::collection::vec("[ab日]{1,4}", 0..3),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let places = |stop: &&str| text.find(stop).map(|at| (at + stop.len(), at));
            let end = stops.iter().filter_map(places).min().map(|(_, at)| at);
            let (told, is_found) = told(&stops, &parts);
            prop_assert_eq!(told.concat(), &text[..end.unwrap_or(text.len())]);
            prop_assert_eq!(is_found, end.is_some());
        }
    }
}
