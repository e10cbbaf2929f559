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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_whole_and_only_by_its_own_name() {
        let table =
            Table::new("# Head\nMax\n  types a=>b\nMaxPool\n  opset 8-9 12-21\n  @x - 1\n  not @x=1 opset=8-9\n");
        let row = table.row("MaxPool").unwrap();
        assert_eq!(row.values("@x"), Some("- 1"));
        assert_eq!(row.keys().count(), 2);
        assert_eq!(row.exceptions().collect::<Vec<_>>(), ["@x=1 opset=8-9"]);
        assert_eq!(
            [8, 10, 21, 22].map(|opset| row.opsets(opset)),
            [Some("8-9"), None, Some("12-21"), None]
        );
        assert_eq!(table.row("Max").unwrap().keys().count(), 1);
        assert!(table.row("Pool").is_none() && table.row("# Head").is_none());
    }

    #[test]
    fn the_committed_table_is_sorted_and_leaves_out_what_is_silently_wrong() {
        let rows: Vec<&str> = COMMITTED
            .text()
            .lines()
            .filter(|line| !line.starts_with([' ', '#']))
            .collect();
        assert!(rows.is_sorted());
        for wrong in [
            "NonMaxSuppression",
            "DynamicQuantizeLinear",
            "ScatterElements",
            "Softplus",
        ] {
            assert!(COMMITTED.row(wrong).is_none(), "{wrong}");
        }
        let has = |operator: &str, key: &str, value: &str| {
            COMMITTED
                .row(operator)
                .and_then(|row| row.values(key))
                .is_some_and(|values| values.split(' ').any(|one| one == value))
        };
        assert!(has("Resize", "@mode", "linear") && !has("Resize", "@mode", "cubic"));
        assert!(has("MatMul", "ranks", "n,n") && !has("MatMul", "ranks", "n,1"));
        assert!(has("MaxPool", "@auto_pad", "SAME_UPPER") && !has("MaxPool", "@auto_pad", "SAME_LOWER"));
        assert!(!has("Sign", "types", "float32=>float32") && !has("Cast", "types", "float32=>int64"));
    }
}
