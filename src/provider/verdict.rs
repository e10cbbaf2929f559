use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Hardware, LoadPlan, ProviderKind};
use crate::fs;
use crate::oci::Digest;

/// Is what came of running a small model with a provider in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub provider: ProviderKind,
    pub pack: String,
    /// The version of gpux that tried.
    pub gpux: String,
    pub outcome: Outcome,
}

/// Says how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Outcome {
    /// It gave the right numbers; the report has what was seen.
    Proven { report: serde_json::Value },
    /// It crashed, hung, failed or gave wrong numbers.
    Refused { reason: String },
}

/// Is the folder of what was found out about providers: a file each, replaced whole.
#[derive(Clone, Debug)]
pub struct Verdicts {
    folder: PathBuf,
    /// What the hardware is, as a part of every key.
    hardware: String,
}

impl Verdicts {
    /// Opens the folder below gpux's home; nothing is made before something is written.
    pub fn new(home: &Path, hardware: &Hardware) -> Verdicts {
        Verdicts {
            folder: home.join("cache/providers"),
            hardware: hardware.fingerprint(),
        }
    }

    /// Reads what is known about these libraries on this hardware, by this version of gpux.
    pub fn read(&self, plan: &LoadPlan) -> Option<Record> {
        // What cannot be read is found out again.
        let bytes = fs::read_at_most(&self.path(plan), 1 << 20).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.provider == plan.kind).then_some(record)
    }

    /// Writes what was found out.
    pub fn write(&self, plan: &LoadPlan, record: &Record) -> Result<(), fs::Error> {
        fs::create_folders(&self.folder)?;
        let bytes = serde_json::to_vec_pretty(record).expect("a record is text and numbers");
        fs::replace(&self.path(plan), &bytes)
    }

    /// Forgets what is known about these libraries.
    pub fn forget(&self, plan: &LoadPlan) -> Result<(), fs::Error> {
        fs::remove(&self.path(plan))
    }

    /// Forgets all.
    pub fn clear(home: &Path) -> Result<(), fs::Error> {
        fs::remove_folder(&home.join("cache/providers"))
    }

    fn path(&self, plan: &LoadPlan) -> PathBuf {
        let key = format!("{}\n{}\n{}\n", env!("CARGO_PKG_VERSION"), plan.key, self.hardware);
        self.folder.join(format!("{}.json", Digest::of(key.as_bytes()).hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Origin;

    fn plan(key: &str) -> LoadPlan {
        LoadPlan {
            kind: ProviderKind::Cuda,
            ep_name: "CUDAExecutionProvider".to_owned(),
            pack: "cuda-1.31.1".to_owned(),
            version: "1.31.1".to_owned(),
            origin: Origin::Pack,
            dependencies: Vec::new(),
            missing: Vec::new(),
            core: "/x/libonnxruntime.so".into(),
            plugin: None,
            library: None,
            key: key.to_owned(),
        }
    }

    #[test]
    fn a_verdict_holds_for_these_libraries_and_this_hardware_alone() {
        let home = tempfile::tempdir().unwrap();
        let hardware = Hardware::default();
        let verdicts = Verdicts::new(home.path(), &hardware);
        let record = Record {
            provider: ProviderKind::Cuda,
            pack: "cuda-1.31.1".to_owned(),
            gpux: "0.1.0".to_owned(),
            outcome: Outcome::Refused {
                reason: "it crashed".to_owned(),
            },
        };
        assert_eq!(verdicts.read(&plan("a")), None);
        verdicts.write(&plan("a"), &record).unwrap();
        assert_eq!(verdicts.read(&plan("a")), Some(record));
        assert_eq!(verdicts.read(&plan("b")), None, "other libraries");
        let other = Hardware {
            nvidia_driver: Some("580.1".to_owned()),
            ..hardware
        };
        assert_eq!(
            Verdicts::new(home.path(), &other).read(&plan("a")),
            None,
            "another driver"
        );
        let file = std::fs::read_dir(home.path().join("cache/providers"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        std::fs::write(file.path(), "{").unwrap();
        assert_eq!(verdicts.read(&plan("a")), None, "a broken file is no verdict");
        verdicts.forget(&plan("a")).unwrap();
        Verdicts::clear(home.path()).unwrap();
    }
}
