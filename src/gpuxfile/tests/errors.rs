use super::{fault, fault_below};
use crate::gpuxfile::*;

#[test]
fn an_error_shows_place_reason_line_and_caret() {
    let message = |text: &str| parse(text, "dir/GPUXfile").unwrap_err().to_string();
    assert_eq!(
        message("name: m\nmodel: ../../etc/shadow\n"),
        "dir/GPUXfile:2:8: `../../etc/shadow` is not a path inside the build context: it has `..`\n  \
         |\n2 | model: ../../etc/shadow\n  |        ^^^^^^^^^^^^^^^^"
    );
    let tenth = format!("name: m\n{}serving: {{prot: 1}}\nmodel: m\n", "#\n".repeat(8));
    assert_eq!(
        message(&tenth),
        "dir/GPUXfile:10:11: unknown key `prot`; did you mean `port`?\n   \
         |\n10 | serving: {prot: 1}\n   |           ^^^^"
    );
}

#[test]
fn the_caret_stands_under_the_place_after_wide_tabbed_and_hidden_characters() {
    let message = |text: &str| parse(text, "GPUXfile").unwrap_err().to_string();
    assert_eq!(
        message("{name: m, model: m, metadata: {模型: .nan}}"),
        "GPUXfile:1:36: `metadata.模型` is .nan, which is not a finite number\n  \
         |\n1 | {name: m, model: m, metadata: {模型: .nan}}\n  |                                      ^^^^"
    );
    assert!(
        message("{name: m,\tmodel: \"\u{202e}\u{200b}\", version: x}")
            .contains("1 | {name: m, model: \"\u{fffd}\u{fffd}\"")
    );
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!(
        "{{name: m, model: m, description: \"{}\", version: x, licenses: \"{0}\"}}",
        "x".repeat(5000)
    );
    let message = parse(&text, "GPUXfile").unwrap_err().to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines[2].chars().count() < 120, "{}", lines[2]);
    let (line, caret) = (
        lines[2].chars().collect::<Vec<_>>(),
        lines[3].chars().position(|c| c == '^').unwrap(),
    );
    assert_eq!(line[caret], 'x');
    assert_eq!(line[caret + 1], ',');
}

#[test]
fn the_origin_is_printed_on_one_line() {
    let message = parse("", "a\nb\x1b[2J").unwrap_err().to_string();
    assert!(message.starts_with("a\\nb\\u{1b}[2J:1:1: "), "{message}");
}

#[test]
fn an_unknown_key_offers_the_nearest_known_key_or_lists_them() {
    for (text, message) in [
        (
            "nmae: m\nmodel: m\n",
            "GPUXfile:1:1: unknown key `nmae`; did you mean `name`?",
        ),
        (
            "Name: m\nmodel: m\n",
            "GPUXfile:1:1: unknown key `Name`; did you mean `name`?",
        ),
        (
            "name: m\nmodel: {src: m}\n",
            "GPUXfile:2:9: unknown key `src`; known here: `source`",
        ),
        (
            "name: m\nmodel: {sorce: m}\n",
            "GPUXfile:2:9: unknown key `sorce`; did you mean `source`?",
        ),
    ] {
        assert_eq!(fault(text), message);
    }
    for (lines, message) in [
        (
            "runtime: {provder: cpu}",
            "GPUXfile:3:11: unknown key `provder`; did you mean `provider`?",
        ),
        (
            "inputs:\n  - {name: x, dtype: float32}",
            "GPUXfile:4:15: unknown key `dtype`; did you mean `type`?",
        ),
        (
            "inputs:\n  x: {name: x}",
            "GPUXfile:4:7: unknown key `name`; known here: `type`, `shape`, `description`, \
          `labels`, `required`, `max_length`",
        ),
        (
            "preprocessing: {tokeniser: t}",
            "GPUXfile:3:17: unknown key `tokeniser`; did you mean `tokenizer`?",
        ),
        (
            "zzzz: 1",
            "GPUXfile:3:1: unknown key `zzzz`; known here: `apiVersion`, `name`, `version`, `description`, \
          `licenses`, `authors`, `model`, `models`, `inputs`, `outputs`, `files`, `runtime`, `serving`, \
          `preprocessing`, `postprocessing`, `generation`, `metadata`",
        ),
    ] {
        assert_eq!(fault_below(lines), message);
    }
    // A key as long as the file is neither compared nor repeated in full.
    assert!(fault_below(&format!("\"{}\": 1", "name".repeat(200))).len() < 500);
}

#[test]
fn a_key_given_twice_is_an_error_that_names_the_first() {
    assert_eq!(
        fault("name: m\nmodel: m\nname: n\n"),
        "GPUXfile:3:1: `name` is given twice; the first is on line 1"
    );
    assert_eq!(
        fault_below("metadata:\n  a:\n    - {b: 1, \"b\": 2}"),
        "GPUXfile:5:14: `b` is given twice; the first is on line 5"
    );
    assert_eq!(
        fault_below("inputs:\n  - name: x\n  - name: x"),
        "GPUXfile:5:11: input `x` is listed twice; the first is on line 4"
    );
    assert_eq!(
        fault_below("serving: {batch_size: 1, max_batch_size: 2}"),
        "GPUXfile:3:11: `max_batch_size` and `batch_size` mean the same; keep one"
    );
}

#[test]
fn what_is_missing_or_empty_is_named() {
    for (text, message) in [
        (
            "",
            "GPUXfile:1:1: the file is empty; it needs at least `name` and `model`",
        ),
        (
            "# nothing\n",
            "GPUXfile:1:1: the file is empty; it needs at least `name` and `model`",
        ),
        (
            "---\n...\n",
            "GPUXfile:1:1: the file is empty; it needs at least `name` and `model`",
        ),
        (
            "name: m",
            "GPUXfile:1:1: `model` is missing; it is the path of the ONNX file, for example `model: model.onnx`",
        ),
        (
            "model: m",
            "GPUXfile:1:1: `name` is missing; it names the artifact, for example `name: resnet50`",
        ),
        (
            "name:\nmodel: m",
            "GPUXfile:1:1: `name` is missing; it names the artifact, for example `name: resnet50`",
        ),
        (
            "name: m\nmodel: {}",
            "GPUXfile:2:8: `model.source` is missing; it is the path of the ONNX file",
        ),
        ("name: ''\nmodel: m", "GPUXfile:1:7: `name` is empty"),
        (
            "- a",
            "GPUXfile:1:1: a GPUXfile is a mapping of keys such as `name: resnet50`, and this is a list",
        ),
        (
            "text",
            "GPUXfile:1:1: a GPUXfile is a mapping of keys such as `name: resnet50`, and this is text",
        ),
    ] {
        assert_eq!(fault(text), message, "{text:?}");
    }
    assert_eq!(
        fault_below("inputs:\n  - {type: float32}"),
        "GPUXfile:4:5: `inputs[0].name` is missing"
    );
}

#[test]
fn text_without_quotes_that_readers_take_for_something_else_needs_quotes() {
    for word in ["no", "Yes", "off", "ON", "true", "False"] {
        assert_eq!(
            fault(&format!("name: {word}\nmodel: m")),
            format!(
                "GPUXfile:1:7: `name` is text, and many YAML readers take `{word}` for a boolean; write \"{word}\" with quotes"
            )
        );
    }
    assert_eq!(parse("name: \"no\"\nmodel: m", "GPUXfile").unwrap().name.as_str(), "no");
    assert_eq!(
        fault("name: 12\nmodel: m"),
        "GPUXfile:1:7: `name` is text, and many YAML readers take `12` for a number; write \"12\" with quotes"
    );
    assert_eq!(
        fault_below("outputs: {y: {labels: [yes, no]}}"),
        "GPUXfile:3:24: `outputs.y.labels[0]` is text, and many YAML readers take `yes` for a boolean; write \"yes\" \
         with quotes"
    );
}

#[test]
fn values_of_the_wrong_kind_or_range_are_errors() {
    for (lines, message) in [
        ("runtime: 5", "`runtime` is a mapping, and this is a whole number"),
        (
            "runtime: {provider: {}}",
            "`runtime.provider` is text, and this is a mapping",
        ),
        (
            "runtime: {threads: four}",
            "`runtime.threads` is a whole number, and this is text",
        ),
        (
            "runtime: {threads: 0}",
            "`runtime.threads` is 0, and must be a whole number from 1 to 65536",
        ),
        (
            "runtime: {threads: 1.5}",
            "`runtime.threads` is 1.5, and must be a whole number from 1 to 65536",
        ),
        (
            "runtime: {threads: .nan}",
            "`runtime.threads` is .nan, which is not a finite number",
        ),
        (
            "runtime: {timeout: -.inf}",
            "`runtime.timeout` is -.inf, which is not a finite number",
        ),
        (
            "runtime: {timeout: soon}",
            "`runtime.timeout` is a time such as `30s`, `500ms`, `2m`, `1h` or a number of \
          seconds above zero, and not `soon`",
        ),
        (
            "runtime: {timeout: 0}",
            "`runtime.timeout` is a time such as `30s`, `500ms`, `2m`, `1h` or a number of \
          seconds above zero, and not `0`",
        ),
        (
            "runtime: {timeout: true}",
            "`runtime.timeout` is a time such as `30s`, and this is a boolean",
        ),
        (
            "runtime: {memory: 2gb}",
            "`runtime.memory` is a size such as `2GiB`, `512MB`, `2Gi`, `2G` or a number of \
          bytes above zero, and not `2gb`",
        ),
        (
            "runtime: {provider: [cuda, cqu]}",
            "`cqu` is not a provider; did you mean `cpu`?",
        ),
        (
            "runtime: {provider_options: {cud: {}}}",
            "`cud` is not a provider; did you mean `cuda`?",
        ),
        (
            "runtime: {provider_options: {cuda: [1]}}",
            "`runtime.provider_options.cuda` is a mapping, and this is a list",
        ),
        (
            "serving: {port: 99999}",
            "`serving.port` is 99999, and must be a whole number from 1 to 65535",
        ),
        (
            "serving: {port: .nan}",
            "`serving.port` is .nan, which is not a finite number",
        ),
        (
            "serving: {port: 99999999999999999999999}",
            "`serving.port` is 99999999999999999999999, and must be a whole \
          number from 1 to 65535",
        ),
        (
            "metadata: {a: [1, .nan]}",
            "`metadata.a[1]` is .nan, which is not a finite number",
        ),
        ("metadata: [1]", "`metadata` is a mapping, and this is a list"),
        ("metadata: {\"a\\nb\": 1}", "`metadata` has the control character \\n"),
        ("metadata: {\"\": 1}", "`metadata` is empty"),
        (
            "description: \"a\\e[2J\"",
            "`description` has the control character \\u{1b}",
        ),
        ("inputs: 5", "`inputs` is a list, and this is a whole number"),
        ("inputs: [x]", "`inputs[0]` is a mapping, and this is text"),
        (
            "inputs: {x: flaot32}",
            "`flaot32` is not a tensor type; did you mean `float32`?",
        ),
        (
            "inputs: {x: {shape: 3}}",
            "`inputs.x.shape` is a list, and this is a whole number",
        ),
        (
            "inputs: {x: {shape: [-2]}}",
            "a dimension is a whole number, -1 or null for any size, or a name such as `N`; \
          `-2` is none of these",
        ),
        (
            "inputs: {x: {shape: [[1]]}}",
            "a dimension is a whole number, -1 or null for any size, or a name such as \
          `N`; `a list` is none of these",
        ),
        (
            "inputs: {x: {shape: ['3']}}",
            "a dimension is a whole number, -1 or null for any size, or a name such as \
          `N`; `3` is none of these",
        ),
        (
            "inputs: {x: {required: 1}}",
            "`inputs.x.required` is true or false, and this is a whole number",
        ),
        (
            "outputs: {y: {labels: ../l.txt}}",
            "`../l.txt` is not a path inside the build context: it has `..`",
        ),
        (
            "files: ['a[']",
            "`a[` is not a pattern: unclosed character class; missing ']'",
        ),
        (
            "files: [/etc/*]",
            "`/etc/*` is not a path inside the build context: it is absolute",
        ),
        (
            "models: {A: m.onnx}",
            "`A` cannot name an artifact: letters are lower-case; `a` can",
        ),
        (
            "postprocessing: {softmax: {}, argmax: {}}",
            "`postprocessing` is one step: a name, or a mapping of one name \
          to its options, and this is a mapping of another size",
        ),
        (
            "version: 1.0",
            "`1.0` is not a semantic version (unexpected end of input while parsing minor version number); \
          an example is `1.0.0`",
        ),
        (
            "version: latest",
            "`latest` is not a semantic version (unexpected character 'l' while parsing major version \
          number); an example is `1.0.0`",
        ),
        (
            "apiVersion: gpux/v2",
            "apiVersion `gpux/v2` is not known; this gpux reads `gpux/v1`",
        ),
    ] {
        let found = fault_below(lines);
        let (place, what) = found.split_once(": ").unwrap();
        assert_eq!(what, message, "{lines}");
        assert!(place.starts_with("GPUXfile:3:"), "{place}");
    }
    let long = format!("version: 1.0.0-{}", "a".repeat(200));
    assert!(fault_below(&long).contains("at most 128 characters; this has 206"));
}

#[test]
fn models_that_are_not_files_of_the_context_are_refused() {
    for (source, reason) in [
        ("../../etc/shadow", "it has `..`"),
        ("/etc/shadow", "it is absolute"),
        ("C:\\m.onnx", "write `/` between folders"),
        ("models/", "it names a folder"),
        ("huggingface", "is not a file; gpux builds from an ONNX file"),
        ("hf://org/model", "is not a file; gpux builds from an ONNX file"),
        ("huggingface:org/model", "is not a file; gpux builds from an ONNX file"),
        (
            "https://example.org/m.onnx",
            "is not a file; gpux builds from an ONNX file",
        ),
    ] {
        for text in [
            format!("name: m\nmodel: {source}\n"),
            format!("name: m\nmodel:\n  source: {source}\n"),
        ] {
            assert!(fault(&text).contains(reason), "{}", fault(&text));
        }
    }
    assert!(fault("name: m\nmodel: \"a\\0b\"\n").contains("`model` has the control character \\u{0}"));
}

#[test]
fn a_name_that_no_registry_takes_is_refused_and_a_legal_one_offered() {
    for (name, message) in [
        (
            "ResNet 50",
            "`ResNet 50` cannot name an artifact: letters are lower-case; `resnet-50` can",
        ),
        (
            "a:b",
            "`a:b` cannot name an artifact: `:` is not one of a-z, 0-9, `.`, `_`, `-` and `/`; `a-b` can",
        ),
        (
            "ghcr.io/me/m",
            "`ghcr.io/me/m` cannot name an artifact: `ghcr.io` before the slash is the host of a registry, \
          which belongs in a tag (`-t`); `me/m` can",
        ),
        (
            "模型",
            "`模型` cannot name an artifact: `\\u{6a21}` is not one of a-z, 0-9, `.`, `_`, `-` and `/`",
        ),
    ] {
        assert_eq!(
            fault(&format!("name: {name}\nmodel: m")),
            format!("GPUXfile:1:7: {message}")
        );
    }
}

#[test]
fn broken_yaml_is_an_error_at_its_place() {
    for (text, message) in [
        (
            "name: m\n\tmodel: m\n",
            "GPUXfile:1:7: not valid YAML: while scanning a plain scalar, found a tab",
        ),
        (
            "name: m\nmodel:\n\tsource: m\n",
            "GPUXfile:3:2: not valid YAML: tabs disallowed within this context (block indentation)",
        ),
        (
            "name: [\nmodel: m\n",
            "GPUXfile:1:7: not valid YAML: unclosed bracket '['",
        ),
        (
            "name: *x\nmodel: m\n",
            "GPUXfile:1:7: not valid YAML: alias references unknown anchor",
        ),
        (
            "name: !shell m\nmodel: m\n",
            "GPUXfile:1:14: not valid YAML: unsupported tag `!shell`",
        ),
        (
            "a: b: c\n",
            "GPUXfile:1:5: not valid YAML: mapping values are not allowed in this context",
        ),
        ("? [a]\n: b\n", "GPUXfile:1:3: not valid YAML: expected string scalar"),
        (
            "name: m\nmodel: m\n---\nname: n\n",
            "GPUXfile:4:1: a second YAML document starts here, and a GPUXfile is one",
        ),
    ] {
        assert_eq!(fault(text), message);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_at_their_place() {
    let message = |bytes: &[u8]| parse_bytes(bytes, "GPUXfile").unwrap_err().to_string();
    assert!(message(b"name: m\nmodel: \xff\n").starts_with("GPUXfile:2:8: byte 15 is not UTF-8\n"));
    assert!(message(b"\xff\xfen\0").contains("byte 0 is not UTF-8; it looks like UTF-16, so save the file as UTF-8"));
    assert!(message(b"name: \xed\xa0\x80").contains("byte 6 is not UTF-8"));
}

#[test]
fn a_byte_order_mark_at_the_start_is_no_part_of_the_first_key() {
    let file = parse_bytes(b"\xef\xbb\xbfname: m\nmodel: m.onnx\n", "GPUXfile").unwrap();
    assert_eq!(file.name.as_str(), "m");
    assert_eq!(file.place(file.model.span).to_string(), "GPUXfile:2:8");
    assert!(parse("name: m\n\u{feff}model: m\n", "GPUXfile").is_err());
}

#[test]
fn the_caller_can_make_errors_at_values() {
    let file = parse(
        "name: m\nmodel:\n  source: resnet.onnx\nfiles: [\"*.txt\"]\n",
        "GPUXfile",
    )
    .unwrap();
    let problem = Problem::FileMissing {
        role: FileRole::Model,
        path: file.model.to_string(),
    };
    assert_eq!(
        file.error_at(file.model.span, problem).to_string(),
        "GPUXfile:3:11: model file `resnet.onnx` does not exist\n  \
         |\n3 |   source: resnet.onnx\n  |           ^^^^^^^^^^^"
    );
    let entry = &file.files[0];
    let problem = Problem::NoMatch {
        pattern: entry.to_string(),
    };
    let error = file.error_at(entry.span, problem);
    assert_eq!((error.place().line(), error.place().column()), (4, 9));
    assert_eq!(error.problem().to_string(), "no file matches `*.txt`");
}
