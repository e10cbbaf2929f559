//! The models of a GPU machine are written without the `onnx` package, and are the same.

use std::process::Command;

use crate::support::deps;

const COMPARISON: &str = r#"
import importlib.util
import numpy as np
import onnx

spec = importlib.util.spec_from_file_location("plain", "bench/plain/onnx/__init__.py")
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)


def make(package):
    h, nh, T = package.helper, package.numpy_helper, package.TensorProto
    nodes = [
        h.make_node("Conv", ["x", "w", ""], ["c"], name="convolution", kernel_shape=[1, 1], pads=[0, 0, 0, 0]),
        h.make_node("LeakyRelu", ["c"], ["l"], name="leaky", alpha=0.25),
        h.make_node("DepthToSpace", ["l"], ["d"], name="space", blocksize=2, mode="CRD"),
        h.make_node("ReduceSum", ["d", "axes"], ["y"], name="sum", keepdims=0),
    ]
    tensors = [
        nh.from_array(np.arange(8, dtype=np.float16).reshape(4, 2, 1, 1), "w"),
        nh.from_array(np.array([-1, 2], np.int64), "axes"),
    ]
    inputs = [h.make_tensor_value_info("x", T.FLOAT16, ["N", 2, 3, 5])]
    outputs = [h.make_tensor_value_info("y", T.FLOAT16, ["N", 1])]
    graph = h.make_graph(nodes, "graph", inputs, outputs, tensors)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8, producer_name="test")


read = onnx.ModelProto()
read.ParseFromString(make(plain))
assert read == make(onnx), read
print("same")
"#;

#[test]
fn models_written_without_the_onnx_package_are_what_it_would_write() {
    let output = Command::new(deps::python())
        .args(["-c", COMPARISON])
        .current_dir(deps::repository())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "same\n", "{told}");
}
