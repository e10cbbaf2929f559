use crate::pipeline::{Answer, Label};

/// Writes an answer as text.
///
/// `label`, `index`, `score` and `percent` are of the best class or box, and empty where there is none; `count` is how
/// many there are; `text` is the text.
pub(super) fn fill(template: &str, answer: &Answer) -> Answer {
    let (best, count): (Option<&Label>, usize) = match answer {
        Answer::Labels { labels } => (labels.first(), labels.len()),
        Answer::Boxes { boxes, .. } => (boxes.first().map(|found| &found.label), boxes.len()),
        Answer::Mask(mask) => (mask.labels.first(), mask.labels.len()),
        _ => (None, 1),
    };
    let value = |name: &str| match name {
        "label" => best.map(Label::name).unwrap_or_default(),
        "index" => best.map(|label| label.index.to_string()).unwrap_or_default(),
        "score" => best.map(|label| format!("{:.4}", label.score)).unwrap_or_default(),
        "percent" => best
            .map(|label| format!("{:.1} %", label.score * 100.0))
            .unwrap_or_default(),
        "count" => count.to_string(),
        "text" => match answer {
            Answer::Text { text } => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            text.push_str(&tail[..1]);
            rest = &tail[2..];
        } else if let Some((name, after)) = tail[1..].split_once('}') {
            text.push_str(&value(name));
            rest = after;
        } else {
            break;
        }
    }
    text.push_str(rest);
    Answer::Text { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_two_braces_are_one() {
        let labels = vec![Label {
            index: 3,
            label: Some("cat".to_owned()),
            score: 0.9876,
        }];
        let answer = Answer::Labels { labels };
        let text = |template: &str| match fill(template, &answer) {
            Answer::Text { text } => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("{label} ({percent}, {index})"), "cat (98.8 %, 3)");
        assert_eq!(text("{{{label}}} of {count}"), "{cat} of 1");
        assert_eq!(text("{score}"), "0.9876");
        assert_eq!(text("}}{{"), "}{");
    }
}
