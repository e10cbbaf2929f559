//! Models that fit neither into one file nor into memory twice: 3 GiB of weights, and a tensor of more than 2 GiB. Under
//! `make soak` they have that size; else they are small and take the same way.

use super::*;
use crate::support::graph;

/// Where there is room for them.
fn folder() -> TempDir {
    tempfile::tempdir_in(deps::repository().join("target")).unwrap()
}

/// The most memory beside mapped files that commands may take: it does not grow with the model.
const MEMORY: &str = "512MB";

/// Runs a command that has no `--memory` of its own under the same limit, as the system counts it.
#[track_caller]
fn bounded(gpux: &Gpux, arguments: &[&str]) -> String {
    let command = gpux.command(arguments);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -d 524288 && exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(command.get_current_dir().unwrap());
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_model_of_three_gibibytes_goes_round() {
    let (width, layers) = (deps::repetitions(512, 8192), 12);
    let folder = folder();
    let model = folder.path().join("large.onnx");
    let made = Command::new(deps::python())
        .arg(deps::repository().join("bench/models/mlp.py"))
        .arg(&model)
        .args([&*width.to_string(), &*layers.to_string(), "--data"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let gpux = Gpux::new().with_home_beside(folder.path()).with_onnxruntime();
    let input = format!("[{}]", json_input((0..width).map(|at| at % 5)));
    for provider in ["cpu", "embedded"] {
        let how = ["--provider", provider, "--memory", MEMORY, "--input", &input];
        let run = |operand: &str| gpux.json(["run", operand].into_iter().chain(how))["outputs"].take();
        let before = run(text(&model));
        bounded(&gpux, &["build", text(&model), "-t", "large:1"]);
        assert_eq!(shards(&gpux, "large:1").len(), layers);
        assert_eq!(run("large:1"), before);
        let exported = folder.path().join("exported.onnx");
        let told = bounded(
            &gpux,
            &["export", "onnx", "large:1", "-o", text(&exported), "--force", "--json"],
        );
        let told: Value = serde_json::from_str(&told).unwrap();
        let is_large = width * width * 4 * layers >= 1 << 31;
        assert_eq!(told["files"].as_array().unwrap().len(), 1 + usize::from(is_large));
        assert_eq!(folder.path().join("exported.onnx.data").exists(), is_large);
        assert_eq!(run(text(&exported)), before);
    }
}

#[test]
fn a_tensor_of_more_than_two_gibibytes_goes_round() {
    const ROW: usize = 1024;
    let rows = deps::repetitions(1 << 10, 600 << 10);
    let folder = folder();
    let model = graph::write_table(folder.path(), (rows, ROW), "table.bin");
    let table = fs::File::create(folder.path().join("table.bin")).unwrap();
    table.set_len((rows * ROW * 4) as u64).unwrap();
    for row in [0, rows / 2, rows - 1] {
        let bytes: Vec<u8> = (0..ROW).flat_map(|at| ((row + at) as f32).to_le_bytes()).collect();
        std::os::unix::fs::FileExt::write_all_at(&table, &bytes, (row * ROW * 4) as u64).unwrap();
    }
    let gpux = Gpux::new().with_home_beside(folder.path()).with_onnxruntime();
    let input = json_input([0, rows / 2, rows - 1]);
    for provider in ["cpu", "embedded"] {
        let how = ["--provider", provider, "--memory", MEMORY, "--input", &input];
        let run = |operand: &str| gpux.json(["run", operand].into_iter().chain(how))["outputs"].take();
        let before = run(text(&model));
        assert_eq!(before["y"]["data"][1][0], (rows / 2) as f64);
        bounded(&gpux, &["build", text(&model), "-t", "table:1"]);
        assert_eq!(run("table:1"), before);
        let exported = folder.path().join("exported.onnx");
        bounded(&gpux, &["export", "onnx", "table:1", "-o", text(&exported), "--force"]);
        assert_eq!(run(text(&exported)), before);
    }
}
