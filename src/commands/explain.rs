use std::io;

use serde_json::{Value, json};

use crate::runtime::{Assignment, ProviderKind};
use crate::term::{Align, Table, Term};

/// Is what is told of who runs which node.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub provider: ProviderKind,
    /// What the session was made with, for people.
    pub options: Vec<&'static str>,
    /// Whether tuning chose both.
    pub tuned: bool,
    pub assignment: &'a Assignment,
}

impl Explanation<'_> {
    /// Gives the operators that the chosen provider left to the processor, with how often.
    fn fallen(&self) -> Vec<(String, usize)> {
        if matches!(self.provider, ProviderKind::Cpu | ProviderKind::Embedded) {
            return Vec::new();
        }
        let shares = self.assignment.shares().into_iter();
        let others = shares.filter(|share| share.provider == ProviderKind::Cpu.name());
        others.flat_map(|share| share.operators).collect()
    }

    /// Gives the document of the contract.
    pub fn to_json(&self) -> Value {
        let shares = self.assignment.shares();
        let providers: Vec<Value> = shares
            .iter()
            .map(|share| {
                json!({
                    "provider": share.provider,
                    "partitions": share.partitions,
                    "nodes": share.nodes,
                    "operators": share.operators,
                })
            })
            .collect();
        let fallen: serde_json::Map<_, _> = self
            .fallen()
            .into_iter()
            .map(|(name, count)| (name, count.into()))
            .collect();
        json!({
            "options": self.options,
            "tuned": self.tuned,
            "nodes": self.assignment.nodes(),
            "partitions": self.assignment.partitions.len(),
            "providers": providers,
            "fell_to_cpu": fallen,
        })
    }

    /// Prints it for a person.
    pub fn print(&self, term: &Term) -> io::Result<()> {
        let mut table = Table::new(&[
            ("PROVIDER", Align::Left),
            ("NODES", Align::Right),
            ("PARTITIONS", Align::Right),
            ("OPERATORS", Align::Left),
        ]);
        for share in self.assignment.shares() {
            table.row([
                share.provider.clone(),
                share.nodes.to_string(),
                share.partitions.to_string(),
                listed(share.operators.iter().map(|(name, count)| (name.as_str(), *count))),
            ]);
        }
        term.data(table)?;
        let fallen = self.fallen();
        if !fallen.is_empty() {
            let names = listed(fallen.iter().map(|(name, count)| (name.as_str(), *count)));
            term.data(format_args!("{} leaves to the processor: {names}", self.provider))?;
        }
        Ok(())
    }
}

/// Writes operators with how often they occur, the most frequent first.
fn listed<'a>(operators: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut operators: Vec<_> = operators.collect();
    operators.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    let words: Vec<String> = operators
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    words.join(", ")
}
