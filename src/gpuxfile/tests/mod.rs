#[cfg(unix)]
mod bounds;
mod check;
mod errors;
mod python;
mod values;
mod write;

use super::parse;

/// The first line of the error that a file makes.
fn fault(text: &str) -> String {
    let message = parse(text, "GPUXfile").expect_err(text).to_string();
    message.lines().next().unwrap().to_owned()
}

/// The first line of the error that lines below a sound start make.
fn fault_below(lines: &str) -> String {
    fault(&format!("name: m\nmodel: m.onnx\n{lines}"))
}

fn notices(text: &str) -> Vec<String> {
    parse(text, "gpux.yml")
        .unwrap()
        .notices()
        .iter()
        .map(ToString::to_string)
        .collect()
}
