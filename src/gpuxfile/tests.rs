use super::*;

fn message(text: &str) -> String {
    parse(text, "GPUXfile").unwrap_err().to_string()
}

fn first_line(text: &str) -> String {
    message(text).lines().next().unwrap().to_owned()
}

#[test]
fn an_error_shows_the_place_and_the_line_with_a_caret() {
    assert_eq!(
        message("name: m\nmodel: ../../etc/shadow\n"),
        "GPUXfile:2:8: `../../etc/shadow` is not a path inside the build context: it has `..`\n  \
         |\n2 | model: ../../etc/shadow\n  |        ^^^^^^^^^^^^^^^^"
    );
}

#[test]
fn an_unknown_key_is_an_error_that_offers_the_nearest_known_key() {
    assert_eq!(
        first_line("nmae: m\nmodel: m.onnx\n"),
        "GPUXfile:1:1: unknown key `nmae`; did you mean `name`?"
    );
}
