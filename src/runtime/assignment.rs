use std::collections::BTreeMap;

use super::ProviderKind;

/// Says which provider has which node of a model, as the engine reports it after loading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The parts of the graph, each handed to one provider, in the engine's order.
    pub partitions: Vec<Partition>,
}

/// Is a part of the graph that one provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The provider's name as gpux writes it; the engine's own name where gpux has none.
    pub provider: String,
    pub nodes: Vec<Node>,
}

/// Is one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; often empty.
    pub name: String,
    /// Its operator, with the domain before it where it is not ONNX's own.
    pub operator: String,
}

impl Assignment {
    /// Joins neighbours: an engine that hands out nodes one by one reports each as a part of its own.
    ///
    /// `order` names the nodes in the order of the file, in which each stands after what it needs. A node without a name,
    /// or that the engine made itself, has no place there; all of these that one provider has count as one part.
    pub fn join_neighbours<'n>(self, order: impl Iterator<Item = &'n str>) -> Self {
        let (single, mut partitions): (Vec<_>, Vec<_>) =
            self.partitions.into_iter().partition(|part| part.nodes.len() == 1);
        let mut alone: BTreeMap<String, Partition> = BTreeMap::new();
        let mut named: BTreeMap<String, Partition> = BTreeMap::new();
        for part in single {
            let name = part.nodes[0].name.clone();
            if name.is_empty() || named.contains_key(&name) {
                let place = alone.entry(part.provider.clone()).or_insert_with(|| Partition {
                    provider: part.provider,
                    nodes: Vec::new(),
                });
                place.nodes.extend(part.nodes);
            } else {
                named.insert(name, part);
            }
        }
        let mut joined: Vec<Partition> = Vec::new();
        for name in order {
            match (named.remove(name), joined.last_mut()) {
                (Some(part), Some(last)) if last.provider == part.provider => last.nodes.extend(part.nodes),
                (Some(part), _) => joined.push(part),
                (None, _) => {}
            }
        }
        for part in named.into_values() {
            let place = alone.entry(part.provider.clone()).or_insert_with(|| Partition {
                provider: part.provider,
                nodes: Vec::new(),
            });
            place.nodes.extend(part.nodes);
        }
        joined.append(&mut partitions);
        joined.extend(alone.into_values());
        Assignment { partitions: joined }
    }

    /// Counts the nodes that `provider` has.
    pub fn nodes_of(&self, provider: ProviderKind) -> usize {
        let its = self.partitions.iter().filter(|part| part.provider == provider.name());
        its.map(|part| part.nodes.len()).sum()
    }

    /// Counts all nodes.
    pub fn nodes(&self) -> usize {
        self.partitions.iter().map(|part| part.nodes.len()).sum()
    }

    /// Adds up by provider, the one with the most nodes first.
    pub fn shares(&self) -> Vec<Share> {
        let mut shares: BTreeMap<&str, Share> = BTreeMap::new();
        for part in &self.partitions {
            let share = shares.entry(&part.provider).or_insert_with(|| Share {
                provider: part.provider.clone(),
                partitions: 0,
                nodes: 0,
                operators: BTreeMap::new(),
            });
            share.partitions += 1;
            share.nodes += part.nodes.len();
            for node in &part.nodes {
                *share.operators.entry(node.operator.clone()).or_default() += 1;
            }
        }
        let mut shares: Vec<Share> = shares.into_values().collect();
        shares.sort_by(|one, other| {
            other
                .nodes
                .cmp(&one.nodes)
                .then_with(|| one.provider.cmp(&other.provider))
        });
        shares
    }
}

/// Is what one provider has of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub provider: String,
    /// How many parts of the graph it has: each border between two providers is a copy.
    pub partitions: usize,
    pub nodes: usize,
    /// How often it has each operator.
    pub operators: BTreeMap<String, usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_were_handed_out_one_by_one_are_joined_with_their_neighbours() {
        let part = |provider: &str, names: &[&str]| Partition {
            provider: provider.to_owned(),
            nodes: names
                .iter()
                .map(|name| Node {
                    name: (*name).to_owned(),
                    operator: "Relu".to_owned(),
                })
                .collect(),
        };
        let reported = Assignment {
            partitions: vec![
                part("cuda", &["a"]),
                part("cuda", &["c"]),
                part("cuda", &["d"]),
                part("cpu", &["b"]),
                part("cpu", &[""]),
                part("tensorrt", &["e", "f"]),
                part("cuda", &["made by the engine"]),
            ],
        };
        let nodes = reported.nodes();
        let joined = reported.join_neighbours(["a", "b", "folded", "c", "d", "e", "f"].into_iter());
        let told: Vec<_> = joined
            .partitions
            .iter()
            .map(|part| (part.provider.as_str(), part.nodes.len()))
            .collect();
        let expected = [
            ("cuda", 1),
            ("cpu", 1),
            ("cuda", 2),
            ("tensorrt", 2),
            ("cpu", 1),
            ("cuda", 1),
        ];
        assert_eq!(told, expected);
        assert_eq!(joined.nodes(), nodes);
    }

    #[test]
    fn shares_add_up_the_parts_of_each_provider_and_the_largest_is_first() {
        let part = |provider: &str, operators: &[&str]| Partition {
            provider: provider.to_owned(),
            nodes: operators
                .iter()
                .map(|operator| Node {
                    name: String::new(),
                    operator: (*operator).to_owned(),
                })
                .collect(),
        };
        let assignment = Assignment {
            partitions: vec![
                part("cuda", &["Conv"]),
                part("cpu", &["NonZero"]),
                part("cuda", &["Conv", "Relu"]),
            ],
        };
        let shares = assignment.shares();
        let told: Vec<_> = shares
            .iter()
            .map(|share| (share.provider.as_str(), share.partitions, share.nodes))
            .collect();
        assert_eq!(told, [("cuda", 2, 3), ("cpu", 1, 1)]);
        assert_eq!(shares[0].operators["Conv"], 2);
        assert_eq!((assignment.nodes(), assignment.nodes_of(ProviderKind::Cpu)), (4, 1));
    }
}
