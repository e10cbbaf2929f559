//! Headless Chromium, driven by W3C WebDriver over plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::deps::program;
use super::server::connect;

/// How long the page may take to come to what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The name that WebDriver has for an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Is a browser with one window; dropped, it ends.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    // Its profile, and nobody else's.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser of a size in pixels.
    pub fn start((width, height): (u32, u32)) -> Browser {
        let profile = TempDir::new().unwrap();
        let mut driver = Command::new(program("chromedriver"))
            .args(["--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut browser = Browser {
            driver,
            address: SocketAddr::from(([127, 0, 0, 1], port.unwrap())),
            session: String::new(),
            _profile: profile,
        };
        let arguments = [
            "--headless=new".to_owned(),
            // The tests may be root's, for whom Chromium has no sandbox; the page is our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            format!("--user-data-dir={}", browser._profile.path().display()),
            format!("--window-size={width},{height}"),
        ];
        let options = json!({"binary": program("chromium"), "args": arguments});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let body = json!({"capabilities": {"alwaysMatch": wanted}});
        let made = browser.ask("POST", "/session", &body);
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = match method {
            "POST" => body.to_string(),
            _ => String::new(),
        };
        let (status, mut document) = exchange(self.address, method, path, &text);
        assert_eq!(status, 200, "{path}: {document}");
        document["value"].take()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Runs a script's body in the page, and gives what it returns.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        let began = Instant::now();
        while self.run(&format!("return Boolean({expression})"), &[]) != true {
            let told = "return document.querySelector('#told')?.textContent";
            assert!(
                began.elapsed() < PATIENCE,
                "`{expression}` does not come: {}",
                self.run(told, &[])
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element; into one that takes files, their paths.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Presses and releases keys, wherever the focus is; those before the last are held meanwhile.
    pub fn press(&self, keys: &[&str]) {
        let down = keys.iter().map(|key| json!({"type": "keyDown", "value": key}));
        let up = keys.iter().rev().map(|key| json!({"type": "keyUp", "value": key}));
        let actions: Vec<Value> = down.chain(up).collect();
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    /// The names that a screen reader says of all elements that a selector finds.
    pub fn names(&self, selector: &str) -> Vec<String> {
        let found = self.post("/elements", &json!({"using": "css selector", "value": selector}));
        let each = found.as_array().unwrap().iter().map(|element| {
            let path = format!(
                "{}/element/{}/computedlabel",
                self.session,
                element[ELEMENT].as_str().unwrap()
            );
            self.ask("GET", &path, &Value::Null).as_str().unwrap().to_owned()
        });
        each.collect()
    }

    /// Lets the page believe that the user prefers something, such as `prefers-color-scheme` `dark`.
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let params = json!({"features": features});
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": "Emulation.setEmulatedMedia", "params": params}),
        );
    }

    /// Writes what is seen to a file, for people to look at; gives its bytes.
    pub fn picture(&self, to: &Path) -> Vec<u8> {
        let png = self.ask("GET", &format!("{}/screenshot", self.session), &Value::Null);
        let bytes = STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, &bytes).unwrap();
        bytes
    }

    /// The messages of the console that tell of errors, its policy's refusals included.
    pub fn errors(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let severe = log
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }
}

/// Sends one request and reads as much as its answer's length says: the driver keeps connections open.
fn exchange(to: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = connect(to);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        }
        if let Some(rest) = line.strip_prefix("content-length:") {
            length = rest.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Ends the browser; the driver is then of no more use.
            exchange(self.address, "DELETE", &self.session, "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
