//! The embedded engine: what its capability table has is right, and the table is what the cases give.

use std::path::Path;

use gpux::onnx::Model;
use gpux::runtime::embedded::{COMMITTED, Table, check};

use crate::cases::{Case, Pack};
use crate::child::{Outcome, Runner, run_pack};
use crate::table;

/// Runs every case on the engine, its table unasked.
fn run_all(packs: &[Pack]) -> Vec<(Pack, Case, Outcome)> {
    let mut all = Vec::new();
    for &pack in packs {
        let cases = pack.read();
        let outcomes = run_pack(Runner::Embedded, pack, cases.len());
        all.extend(
            cases
                .into_iter()
                .zip(outcomes)
                .map(|(case, outcome)| (pack, case, outcome)),
        );
    }
    all
}

/// Is the way of a case through the table: refused before it ran, or taken, and then right or not.
fn is_taken(case: &Case, table: Table<'static>) -> bool {
    let model = Model::parse(case.model.clone().into()).unwrap();
    case.unheld.is_none() && check(model.proto(), table).is_ok()
}

pub fn the_table_is_right_and_what_the_cases_give() {
    let all = run_all(&Pack::ALL);
    let made = table::make(all.iter().map(|(_, case, outcome)| (case, outcome)));
    let differs = made
        .text
        .lines()
        .zip(COMMITTED.text().lines())
        .find(|(made, committed)| made != committed);
    let mut wrong = Vec::new();
    for pack in Pack::ALL {
        let of = || all.iter().filter(|(of, ..)| *of == pack);
        let taken: Vec<_> = of().filter(|(_, case, _)| is_taken(case, COMMITTED)).collect();
        let held = of().filter(|(_, case, _)| case.unheld.is_none()).count();
        println!(
            "{}: {} of {} cases are in the table ({:.0} % of the {held} whose tensors gpux holds)",
            pack.name(),
            taken.len(),
            of().count(),
            100.0 * taken.len() as f64 / held as f64
        );
        wrong.extend(
            taken
                .into_iter()
                .filter(|(.., outcome)| !matches!(outcome, Outcome::Right | Outcome::Refused(_))),
        );
    }
    let lines: Vec<String> = wrong
        .iter()
        .map(|(_, case, outcome)| format!("{}: {outcome:?}", case.name))
        .collect();
    assert!(
        lines.is_empty(),
        "the capability table claims what is wrong:\n{}",
        lines.join("\n")
    );
    assert!(
        made.text == COMMITTED.text(),
        "`make capability-table` gives another table; the first lines that differ: {differs:?}"
    );
}

/// Makes the table and tells what it had to give up.
pub fn write_table() {
    let all = run_all(&Pack::ALL);
    let made = table::make(all.iter().map(|(_, case, outcome)| (case, outcome)));
    for line in &made.given_up {
        println!("{line}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime/embedded/table.txt");
    std::fs::write(&path, &made.text).unwrap();
    let table = Table::new(Box::leak(made.text.into_boxed_str()));
    for (_, case, outcome) in &all {
        if is_taken(case, table) && !matches!(outcome, Outcome::Right | Outcome::Refused(_)) {
            println!("still wrong: {} {outcome:?}", case.name);
        }
    }
}
