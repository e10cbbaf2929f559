use crate::gpuxfile::yaml::{Writer, scalar};

use super::Generation;

/// Writes `generation`, every option with its value.
pub(in crate::gpuxfile) fn write_generation(w: &mut Writer, generation: &Generation) {
    w.below("generation", |w| {
        w.entry("tokenizer", &scalar(generation.tokenizer.as_str()));
        w.entry("max_tokens", &generation.max_tokens.to_string());
        for (key, tokens) in [
            ("start", &generation.start),
            ("end", &generation.end),
            ("suppress", &generation.suppress),
            ("suppress_first", &generation.suppress_first),
        ] {
            if !tokens.is_empty() {
                let tokens: Vec<String> = tokens.iter().map(u32::to_string).collect();
                w.entry(key, &format!("[{}]", tokens.join(", ")));
            }
        }
        if !generation.forced.is_empty() {
            let entries = generation.forced.iter();
            let entries: Vec<String> = entries.map(|(place, token)| format!("{place}: {token}")).collect();
            w.entry("forced", &format!("{{{}}}", entries.join(", ")));
        }
    });
}
