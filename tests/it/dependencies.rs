//! What is banned is not in the dependency tree. `make deny` checks licences and sources as well.

use std::fs;

use crate::support::deps;

fn read(file: &str) -> String {
    fs::read_to_string(deps::repository().join(file)).unwrap()
}

#[test]
fn banned_crates_are_not_in_the_tree() {
    let policy = read("deny.toml");
    let banned: Vec<&str> = policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next())
        .collect();
    assert!(banned.contains(&"serde_yaml"), "deny.toml bans {banned:?}");
    let lock = read("Cargo.lock");
    for name in banned {
        assert!(
            !lock.contains(&format!("\nname = \"{name}\"\n")),
            "`{name}` is banned by deny.toml"
        );
    }
}
