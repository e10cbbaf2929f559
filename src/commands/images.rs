use serde_json::json;

use crate::env;
use crate::oci::{Document, Reference, annotation};
use crate::store::Entry;
use crate::term::{Align, Table, bytes};

use super::{Context, Failure, OrFail};

/// List the artifacts in the local store
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub struct Args {
    /// Only artifacts of this name (without tag)
    name: Option<String>,
}

/// Is an artifact of the list.
struct Row {
    entry: Entry,
    /// `None` where the manifest is damaged or missing.
    size_bytes: Option<u64>,
    created: Option<String>,
}

/// Lists what the store has tags for.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let what = || "cannot list the store".to_owned();
    let mut rows = Vec::new();
    for entry in store.list().or_fail(what)? {
        let name = entry.reference.as_ref().map(Reference::name);
        if args.name.is_some() && args.name != name {
            continue;
        }
        // An artifact that is damaged is listed all the same: `gpux store verify` tells more.
        let size_bytes = store.size_bytes(&entry.descriptor).ok();
        let created = match store.document(&entry.descriptor) {
            Ok(Document::Manifest(manifest)) => manifest.annotations.get(annotation::CREATED).cloned(),
            Ok(Document::Index(index)) => index.annotations.get(annotation::CREATED).cloned(),
            Err(_) => None,
        };
        rows.push(Row {
            entry,
            size_bytes,
            created,
        });
    }
    rows.sort_by_cached_key(|row| row.entry.label());
    if context.term.json() {
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "reference": row.entry.label(),
                    "digest": row.entry.descriptor.digest.to_string(),
                    "size_bytes": row.size_bytes,
                    "created": row.created,
                    "updated": row.entry.tagged_at.map(|time| time.to_string()),
                })
            })
            .collect();
        context.term.data(serde_json::Value::from(list))?;
        return Ok(());
    }
    let columns = [
        ("REFERENCE", Align::Left),
        ("DIGEST", Align::Left),
        ("SIZE", Align::Right),
        ("UPDATED", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for Row { entry, size_bytes, .. } in &rows {
        let age = entry
            .tagged_at
            .map(|then| ago(env::now().duration_since(then).as_secs()))
            .unwrap_or_default();
        let size = size_bytes.map_or_else(|| "damaged".to_owned(), bytes);
        table.row([entry.label(), entry.descriptor.digest.short(), size, age]);
    }
    if table.is_empty() && args.name.is_none() {
        context
            .term
            .tell("the store has no artifacts yet; `gpux build -t NAME:TAG DIR` makes one");
    }
    context.term.data(table)?;
    Ok(())
}

/// Tells an age in seconds; a clock that was set back since makes it negative.
fn ago(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_are_told_in_the_largest_whole_unit() {
        assert_eq!(super::ago(59), "just now");
        assert_eq!(super::ago(60), "1 minute ago");
        assert_eq!(super::ago(7200), "2 hours ago");
        assert_eq!(super::ago(86_400 * 3), "3 days ago");
    }
}
