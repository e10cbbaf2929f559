//! Real ONNX files, as other tools write them, through `gpux::onnx`.

use std::path::{Path, PathBuf};

use gpux::fs;
use gpux::onnx::proto::ModelProto;
use gpux::onnx::{Files, Location, Model};
use gpux::tensor::Dim;
use prost::Message;

use crate::support::deps;

/// Is the files beside a model.
struct Beside<'p>(&'p Path);

impl Files for Beside<'_> {
    fn size_bytes(&self, location: &Location) -> Option<u64> {
        let path = self.0.parent()?.join(location.path());
        std::fs::metadata(path).ok().map(|found| found.len())
    }
}

/// Finds every ONNX file of fixtures/, and the two large real models.
fn models() -> Vec<PathBuf> {
    let mut found = vec![deps::real_model("minilm"), deps::real_model("resnet50")];
    let mut folders = vec![deps::repository().join("fixtures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "onnx") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

fn parse(path: &Path) -> Model {
    Model::parse(fs::map(path).unwrap()).unwrap()
}

#[test]
fn honest_models_pass_the_check() {
    for path in models() {
        let checked = parse(&path).check(&Beside(&path));
        assert!(checked.is_ok(), "{}: {checked:?}", path.display());
    }
}

#[test]
fn what_is_parsed_encodes_to_the_same_bytes() {
    for path in models() {
        let model = parse(&path);
        assert!(model.proto().encode_to_vec() == *model.bytes(), "{}", path.display());
    }
}

#[test]
fn types_and_ranks_worked_out_are_those_that_the_model_declares() {
    for path in models() {
        let model = parse(&path);
        let signature = model.signature().unwrap();
        let bare = without_declarations(model.proto().clone());
        let nodes = bare.nodes().unwrap();
        for port in &signature.outputs {
            let outputs = nodes
                .iter()
                .filter(|node| node.depth == 0)
                .flat_map(|node| &node.outputs);
            let found = outputs
                .into_iter()
                .find(|output| output.name == port.name.as_str())
                .unwrap();
            let place = format!("{}: {}", path.display(), port.name);
            assert_eq!(found.dtype, Some(port.dtype), "{place}");
            let (Some(shape), Some(dims)) = (found.shape.as_deref(), port.shape.dims()) else {
                continue;
            };
            assert_eq!(shape.len(), dims.len(), "{place}");
            for (size, dim) in shape.iter().zip(dims) {
                let agree = match (size, dim) {
                    (Some(size), Dim::Fixed(declared)) => size == declared,
                    _ => true,
                };
                assert!(agree, "{place}: {shape:?} is not {}", port.shape);
            }
        }
    }
}

/// Leaves in the graph only the types of its inputs.
fn without_declarations(mut proto: ModelProto) -> Model {
    let graph = proto.graph.as_mut().unwrap();
    graph.value_info.clear();
    for output in &mut graph.output {
        output.r#type = None;
    }
    Model::parse(proto.encode_to_vec().into()).unwrap()
}
