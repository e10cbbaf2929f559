//! Reads the capability table.
//!
//! The text has a block for each operator, sorted by name. After the operator's own line, each line of a block is a key
//! and the values that were shown to be right, sorted too:
//!
//! ```text
//! MaxPool
//!   opset 8-9 10-10 11-11 12-21 22-28
//!   types float32=>float32
//!   @ceil_mode - 0 1
//!   not @auto_pad=SAME_UPPER @ceil_mode=1
//! ```
//!
//! A node is right if each of its features has one of the values, and no `not` line has only features of the node.

/// Is the table that the engine is built with.
pub const COMMITTED: Table<'static> = Table {
    text: include_str!("table.txt"),
};

/// Is a capability table.
#[derive(Clone, Copy, Debug)]
pub struct Table<'t> {
    text: &'t str,
}

/// Is the block of one operator.
#[derive(Clone, Copy, Debug)]
pub struct Row<'t> {
    block: &'t str,
}

impl<'t> Table<'t> {
    /// Takes the text of a table.
    pub fn new(text: &'t str) -> Self {
        Table { text }
    }

    /// Gives the text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Finds an operator.
    pub fn row(&self, operator: &str) -> Option<Row<'t>> {
        let head = format!("\n{operator}\n");
        let start = self.text.find(&head)? + head.len();
        let rest = &self.text[start..];
        // A block ends where a line is not indented.
        let end = rest
            .match_indices('\n')
            .find(|(at, _)| !rest[at + 1..].starts_with(' '))
            .map_or(rest.len(), |(at, _)| at);
        Some(Row { block: &rest[..end] })
    }
}

impl<'t> Row<'t> {
    fn lines(&self) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.block.lines().filter_map(|line| line.trim_start().split_once(' '))
    }

    /// Gives the keys and their values, `not` lines left out.
    pub fn keys(&self) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.lines().filter(|(key, _)| *key != "not")
    }

    /// Gives the values of a key, separated by spaces.
    pub fn values(&self, key: &str) -> Option<&'t str> {
        self.lines().find(|(name, _)| *name == key).map(|(_, values)| values)
    }

    /// Gives what must not come together: lines of `KEY=VALUE`.
    pub fn exceptions(&self) -> impl Iterator<Item = &'t str> {
        self.lines()
            .filter(|(key, _)| *key == "not")
            .map(|(_, features)| features)
    }

    /// Finds the range of opsets that an opset is in, as the table writes it.
    pub fn opsets(&self, opset: i64) -> Option<&'t str> {
        self.values("opset")?.split(' ').find(|range| {
            let bounds = range
                .split_once('-')
                .map(|(since, until)| (since.parse::<i64>(), until.parse::<i64>()));
            matches!(bounds, Some((Ok(since), Ok(until))) if (since..=until).contains(&opset))
        })
    }
}
