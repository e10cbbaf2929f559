use crate::gpuxfile::error::{Error, Problem};
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::keys::GENERATION_KEYS;
use crate::gpuxfile::paths::ContextPath;

use super::Generation;

/// The greatest number of a token, and the most that a list of them has.
const TOKEN_LIMIT: u64 = i32::MAX as u64;
const LIST_LIMIT: usize = 4_096;
/// The most tokens that may be asked for.
const LENGTH_LIMIT: u64 = 1 << 20;

/// Reads `generation`.
pub(in crate::gpuxfile) fn read_generation(field: &Field<'_>) -> Result<Generation, Error> {
    let fields = field.clone().fields(GENERATION_KEYS)?;
    let tokenizer = match fields.get("tokenizer") {
        Some(field) => field.path()?,
        None => field.located(ContextPath::parse("tokenizer.json").expect("the path is legal")),
    };
    let max_tokens = match fields.get("max_tokens") {
        Some(field) => field.integer(1, LENGTH_LIMIT)?,
        None => 256,
    };
    Ok(Generation {
        tokenizer,
        max_tokens,
        start: tokens(&fields, "start")?,
        end: tokens(&fields, "end")?,
        forced: match fields.get("forced") {
            Some(field) => forced(&field)?,
            None => Vec::new(),
        },
        suppress: tokens(&fields, "suppress")?,
        suppress_first: tokens(&fields, "suppress_first")?,
    })
}

/// Reads one token or a list of them.
fn tokens(fields: &Fields<'_>, key: &str) -> Result<Vec<u32>, Error> {
    let Some(field) = fields.get(key) else {
        return Ok(Vec::new());
    };
    let items = field.one_or_list()?;
    if items.len() > LIST_LIMIT {
        return Err(field.error(Problem::TooMany {
            key: field.name.clone(),
            limit: LIST_LIMIT,
        }));
    }
    items.iter().map(token).collect()
}

fn token(field: &Field<'_>) -> Result<u32, Error> {
    field.integer(0, TOKEN_LIMIT).map(|token| token as u32)
}

/// Reads a mapping from a place to a token.
fn forced(field: &Field<'_>) -> Result<Vec<(u64, u32)>, Error> {
    let mut forced = Vec::new();
    for (key, entry) in field.entries()? {
        let place = key.parse::<u64>().ok();
        let Some(place) = place.filter(|place| (1..=LENGTH_LIMIT).contains(place)) else {
            return Err(field.error(Problem::ForcedPlace { limit: LENGTH_LIMIT }));
        };
        forced.push((place, token(&entry)?));
    }
    forced.sort_unstable();
    Ok(forced)
}
