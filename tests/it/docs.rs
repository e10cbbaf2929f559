//! The guides name commands, flags and files that exist.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Gpux, deps};

/// Every page of the repository, but those below target/.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "fixtures", "fixtures/digits", "registry-spec"] {
        for entry in fs::read_dir(deps::repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 10, "the pages are missing: {pages:?}");
    pages
}

/// The help of a verb, where there is such a verb.
fn help(verb: &[&str]) -> Option<String> {
    let answer = Gpux::new().run(verb.iter().chain(&["--help"]));
    (answer.code == Some(0)).then_some(answer.stdout)
}

/// The words of a command line, up to a pipe, a comment or a redirection.
fn words(line: &str) -> Vec<&str> {
    let ends = |word: &&str| !matches!(*word, "|" | "#" | ">");
    line.split_whitespace().take_while(ends).collect()
}

#[test]
fn documented_commands_exist() {
    let mut helps: BTreeMap<Vec<&str>, Option<String>> = BTreeMap::new();
    let texts: Vec<(PathBuf, String)> = pages()
        .into_iter()
        .map(|page| (page.clone(), fs::read_to_string(page).unwrap()))
        .collect();
    let mut checked = 0;
    for (page, text) in &texts {
        for line in text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("$ gpux "))
        {
            let words = words(line);
            let verb: Vec<&str> = words
                .iter()
                .copied()
                .take(match words[..] {
                    ["serve", "token", ..] => 3,
                    ["store" | "provider" | "export", ..] => 2,
                    _ => 1,
                })
                .collect();
            let known = helps.entry(verb.clone()).or_insert_with(|| help(&verb));
            let Some(known) = known else {
                panic!(
                    "{}: `gpux {line}`: there is no verb `{}`",
                    page.display(),
                    verb.join(" ")
                );
            };
            for flag in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                let flag = flag.split('=').next().unwrap();
                let listed = known
                    .split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '['))
                    .any(|word| word == flag);
                assert!(listed, "{}: `gpux {line}`: there is no `{flag}`", page.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} flags were checked");
}

#[test]
fn links_of_the_pages_lead_to_files() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            let path = target.split('#').next().unwrap();
            if target.contains("://") || path.is_empty() {
                continue;
            }
            let file = page.parent().unwrap_or(Path::new("")).join(path);
            assert!(file.exists(), "{}: {target} leads nowhere", page.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links were checked");
}
