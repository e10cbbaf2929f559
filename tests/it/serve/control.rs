//! Models loaded and unloaded by calls of admins.

use std::process::Command;

use serde_json::{Value, json};

use super::models::{ANSWERS, body, number, two};
use crate::support::server::{Response, Server};
use crate::support::{Gpux, deps};

/// Makes a token, and gives the header that shows it.
fn bearer(gpux: &Gpux, more: &[&str]) -> String {
    let made = gpux.ok([&["serve", "token", "create", "--tenant", "lab"], more].concat());
    format!("Authorization: Bearer {}", made.trim())
}

fn post(server: &Server, bearer: &str, path: &str, document: &Value) -> Response {
    server.request("POST", path, &[bearer], document.to_string().as_bytes())
}

#[test]
fn an_admin_loads_another_artifact_under_a_name_and_takes_it_out_again() {
    let gpux = Gpux::new();
    two(&gpux);
    let admin = bearer(&gpux, &["--admin"]);
    let server = Server::start(&gpux, &["m:a", "--model-control"]);
    let answer = |path: &str| {
        let answer = server.request("POST", path, &[&admin], &body());
        (answer.status == 200).then(|| number(&answer))
    };
    let load = "/v2/repository/models/m/load";
    let reference =
        |reference: &str, version: &str| json!({"parameters": {"reference": reference, "version": version}});
    // In the place of what answers.
    assert_eq!(post(&server, &admin, load, &reference("m:b", "a")).status, 200);
    assert_eq!(answer("/v2/models/m/infer"), Some(ANSWERS[1]));
    // Beside it, under the reference's own version.
    let beside = json!({"parameters": {"reference": "m:a"}});
    assert_eq!(
        post(&server, &admin, "/v2/repository/models/other/load", &beside).status,
        200
    );
    assert_eq!(answer("/v2/models/other/versions/a/infer"), Some(ANSWERS[0]));
    let unload = json!({"parameters": {"version": "a", "unload_dependents": false}});
    let other = "/v2/repository/models/other/unload";
    assert_eq!(post(&server, &admin, other, &unload).status, 200);
    assert_eq!(answer("/v2/models/other/infer"), None);
    for (path, wrong, status) in [
        (load, reference("m:nothing", "a"), 400),
        (load, reference("./folder", "a"), 400),
        (load, reference("/etc/passwd", "a"), 400),
        (load, json!({"parameters": {"file:1/model.onnx": "AAAA"}}), 400),
        (load, json!([1]), 400),
        ("/v2/repository/models/nothing/load", json!({}), 404),
        ("/v2/repository/models/fresh/load", reference("m:nothing", "1"), 400),
        ("/v2/repository/models/a%2fb/load", reference("m:a", "1"), 400),
        (other, json!({"parameters": {"version": "9"}}), 404),
    ] {
        let refused = post(&server, &admin, path, &wrong);
        assert_eq!(refused.status, status, "{path} {wrong}: {refused:?}");
    }
    // What could not be loaded leaves the old one where it is, and the server ready.
    assert_eq!(answer("/v2/models/m/infer"), Some(ANSWERS[1]));
    assert_eq!(server.get("/v2/health/ready").status, 200);
}

#[test]
fn only_admins_load_and_unload_and_only_where_that_is_allowed() {
    let gpux = Gpux::new();
    two(&gpux);
    let nobody = gpux.run(["serve", "m:a", "--model-control"]);
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    let admin = bearer(&gpux, &["--admin"]);
    let other = bearer(&gpux, &[]);
    let server = Server::start(&gpux, &["m:a", "--model-control"]);
    let unload = "/v2/repository/models/m/unload";
    assert_eq!(post(&server, &other, unload, &json!({})).status, 403);
    assert_eq!(server.post(unload, b"").status, 401);
    assert_eq!(post(&server, &admin, "/v2/models/m/ready", &json!({})).status, 405);
    drop(server);
    let closed = Server::start(&gpux, &["m:a"]);
    assert_eq!(post(&closed, &admin, unload, &json!({})).status, 404);
}

fn triton(protocol: &str, address: fn(&Server) -> String) {
    let gpux = Gpux::new();
    two(&gpux);
    let admin = bearer(&gpux, &["--admin"]);
    let server = Server::start(&gpux, &["m:a", "--model-control"]);
    let token = admin.rsplit(' ').next().unwrap();
    let output = Command::new(deps::python())
        .arg(deps::repository().join("tests/it/serve/control.py"))
        .args([protocol, &address(&server), token])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.told.lock().unwrap());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "loaded and unloaded");
}

#[test]
fn triton_s_own_client_loads_and_unloads_over_http() {
    triton("http", Server::url);
}

#[test]
fn triton_s_own_client_loads_and_unloads_over_grpc() {
    triton("grpc", |server| server.grpc.to_string());
}
