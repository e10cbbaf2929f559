use std::time::Duration;

use crate::gpuxfile::*;

/// What a bomb may cost to refuse. Measured without optimization: alias bombs 18 ms, deep nesting 1 ms, a scalar of 1 MB
/// 33 ms, one of 100 MB nothing.
const BOUND: Duration = Duration::from_millis(50);

/// Gives the result and the processor time that it took, which others on the machine do not lengthen.
fn measured<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = now();
    let result = act();
    (now() - start, result)
}

fn timed(text: &str) -> (Duration, Result<Gpuxfile, Error>) {
    measured(|| parse(text, "GPUXfile"))
}

fn refused_in_time(what: &str, text: &str, message: &str) {
    let (time, result) = timed(text);
    let error = result.expect_err(what).to_string();
    assert!(error.contains(message), "{what}: {error}");
    assert!(error.len() < 2_000, "{what}: a message of {} bytes", error.len());
    assert!(time < BOUND, "{what}: {time:?}");
}

#[test]
fn alias_bombs_are_refused_in_time() {
    let too_much = "its aliases expand to too much";
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..20 {
        let inner = vec![format!("*a{}", level - 1); 10].join(",");
        laughs += &format!("a{level}: &a{level} [{inner}]\n");
    }
    refused_in_time("laughs", &laughs, too_much);
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(1000), "*a,".repeat(10_000));
    refused_in_time("wide", &wide, too_much);
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(99));
    let (time, result) = timed(&long);
    assert!(result.is_err() && time < BOUND, "{time:?}");
    let merged = format!("a: &a {{x: 1}}\nb: {{{}}}", "<<: *a,".repeat(10_000));
    refused_in_time("merged", &merged, too_much);
    refused_in_time("of itself", "a: &a [*a]\n", "not valid YAML");
}

#[test]
fn a_few_aliases_are_what_they_name() {
    let text = "name: m\nmodel: m\ninputs:\n  x: &image {type: float32, shape: [N, 3]}\n  y: *image\n  \
                z: {<<: *image, type: int8}\n";
    let file = parse(text, "GPUXfile").unwrap();
    assert_eq!(file.inputs[1].shape, file.inputs[0].shape);
    assert_eq!(file.inputs[2].shape, file.inputs[0].shape);
    assert_ne!(file.inputs[2].dtype, file.inputs[0].dtype);
}

#[test]
fn deep_nesting_is_refused_in_time() {
    let too_deep = "it nests deeper than 32 levels";
    refused_in_time("lists", &"[".repeat(100_000), too_deep);
    refused_in_time(
        "closed lists",
        &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        too_deep,
    );
    refused_in_time("mappings", &"{a: ".repeat(100_000), too_deep);
    refused_in_time("block lists", &"- ".repeat(100_000), too_deep);
    refused_in_time("explicit keys", &"? ".repeat(100_000), too_deep);
    let steps: String = (0..1000).map(|level| " ".repeat(level) + "a:\n").collect();
    refused_in_time("block mappings", &steps, too_deep);
}

#[test]
fn a_scalar_of_100_mb_is_refused_unread() {
    refused_in_time(
        "scalar",
        &format!("name: {}", "x".repeat(100_000_000)),
        "more than 1048576 bytes",
    );
    let bytes = vec![0xff; 100_000_000];
    let (time, result) = measured(|| parse_bytes(&bytes, "GPUXfile"));
    assert!(result.is_err() && time < BOUND, "{time:?}");
}

#[test]
fn every_long_token_within_the_size_limit_is_read_or_refused_in_time() {
    let n = 1_000_000;
    for (what, text) in [
        ("plain", format!("name: {}", "x".repeat(n))),
        ("escapes", format!("name: \"{}\"", "\\x41".repeat(n / 4))),
        ("block", format!("name: |\n{}", " x\n".repeat(n / 3))),
        ("folded", format!("name: {}", "x\n ".repeat(n / 3))),
        ("key", format!("{}: 1", "k".repeat(n))),
        ("colons", ":".repeat(n)),
        ("anchors", "&a ".repeat(n / 3)),
        ("tags", "!a ".repeat(n / 3)),
        ("bang", "!".repeat(n)),
        ("documents", "---\n".repeat(n / 4)),
        ("comments", "#\n".repeat(n / 2)),
        ("comment", format!("#{}", "x".repeat(n))),
        ("lines", "\n".repeat(n)),
        ("spaces", " ".repeat(n)),
        ("directives", "%\n".repeat(n / 2)),
        ("quoted keys", format!("{{{}", "\"a\" ".repeat(n / 4))),
        ("zeros", "\0".repeat(n)),
    ] {
        let (time, result) = timed(&text);
        let error = result.expect_err(what).to_string();
        assert!(error.len() < 2_000, "{what}: a message of {} bytes", error.len());
        assert!(time < 2 * BOUND, "{what}: {time:?}");
    }
}

#[test]
fn a_file_of_too_many_values_is_refused() {
    let message = "it has more than 50000 values";
    for text in [
        format!("[{}]", "1,".repeat(500_000)),
        format!("{{{}}}", "a,".repeat(500_000)),
        (0..100_000).map(|key| format!("k{key}: 1\n")).collect(),
        "a: 1\n".repeat(200_000),
    ] {
        let (time, result) = timed(&text);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(time < 10 * BOUND, "{time:?}");
    }
}

#[test]
fn a_thousand_labels_are_no_burden() {
    let labels: String = (0..1000).map(|at| format!("      - label {at}\n")).collect();
    let (time, result) = timed(&format!("name: m\nmodel: m\noutputs:\n  y:\n    labels:\n{labels}"));
    assert!(matches!(&result.unwrap().outputs[0].labels, Some(Labels::List(labels)) if labels.len() == 1000));
    assert!(time < BOUND, "{time:?}");
}
