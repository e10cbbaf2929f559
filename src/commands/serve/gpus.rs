use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::commands::{Context, machine};
use crate::provider;
use crate::serve::{GpuUse, Gpus};

/// Is the child that asks the driver, which may crash in it; dropped, it ends.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Watches NVIDIA's cards, where there is a driver; gives what tells how busy they are.
pub fn watch(context: &Context) -> Option<Gpus> {
    let env = &context.env;
    let mut folders = env.library_folders.iter();
    let has_library = folders.any(|folder| crate::fs::is_file(&folder.join("libnvidia-ml.so.1")));
    if !has_library && provider::nvidia_driver(Path::new("/")).is_none() {
        return None;
    }
    let mut command = Command::new(env.executable.as_ref()?);
    command
        .arg(machine::WATCH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let lines = BufReader::new(child.stdout.take()?).lines();
    let watcher = Watcher(child);
    let known: Arc<Mutex<Vec<GpuUse>>> = Arc::default();
    let heard = Arc::clone(&known);
    let thread = thread::Builder::new().name("gpus".to_owned());
    let listening = thread.spawn(move || {
        for line in lines.map_while(Result::ok) {
            let cards: Vec<provider::GpuUse> = serde_json::from_str(&line).unwrap_or_default();
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = cards.into_iter().map(told).collect();
        }
        // What a driver that crashed said last is no longer so.
        heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    });
    listening.ok()?;
    Some(Arc::new(move || {
        let _lives = &watcher;
        known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }))
}

fn told(card: provider::GpuUse) -> GpuUse {
    GpuUse {
        index: card.index,
        name: card.name,
        busy: card.busy,
        used_bytes: card.used_bytes,
        memory_bytes: card.memory_bytes,
    }
}
