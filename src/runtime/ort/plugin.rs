use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::device::Device;
use ort::environment::Environment;
use ort::memory::DeviceType;
use ort::session::builder::SessionBuilder;

use super::provider::Options;
use crate::runtime::{Error, Foreign, ProviderKind};

/// Is the plugin libraries that the environment has taken in, with the names of the providers that each brought.
#[derive(Debug, Default)]
pub(super) struct Plugins(Mutex<BTreeMap<PathBuf, Vec<String>>>);

impl Plugins {
    /// Takes in the library, once, and gives the devices that it offers.
    ///
    /// Errors: [`Error::Provider`] where it cannot be loaded; [`Error::NoDevice`] where it finds nothing to run on.
    pub(super) fn devices<'e>(
        &self,
        environment: &'e Environment,
        kind: ProviderKind,
        library: &Path,
    ) -> Result<Vec<Device<'e>>, Error> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.contains_key(library) {
            let before = names(environment);
            environment
                .register_ep_library(format!("gpux.{kind}"), library)
                .map_err(|source| Error::Provider {
                    provider: kind,
                    source: Foreign(source),
                })?;
            let brought = names(environment).into_iter().filter(|name| !before.contains(name));
            taken.insert(library.to_owned(), brought.collect());
        }
        let brought = taken.get(library).map(Vec::as_slice).unwrap_or_default();
        let mut devices: Vec<Device<'e>> = environment
            .devices()
            .filter(|device| device.ep().is_ok_and(|name| brought.iter().any(|known| known == name)))
            .collect();
        // A plugin may offer the processor beside what it is wanted for.
        devices.sort_by_key(|device| device.hardware_device().ty() == DeviceType::CPU);
        if devices.is_empty() {
            return Err(Error::NoDevice {
                provider: kind,
                library: library.to_owned(),
            });
        }
        Ok(devices)
    }
}

fn names(environment: &Environment) -> Vec<String> {
    let names = environment.devices().filter_map(|device| device.ep().ok());
    names.map(str::to_owned).collect()
}

/// Adds the device of that number to a session that is being made.
pub(super) fn with_device(
    builder: SessionBuilder,
    devices: Vec<Device<'_>>,
    number: usize,
    options: &Options,
) -> Result<SessionBuilder, ort::Error> {
    let found = devices.len();
    let Some(device) = devices.into_iter().nth(number) else {
        return Err(ort::Error::new(format!(
            "there is no device {number}: it offers {found}"
        )));
    };
    let provider = device.ep()?;
    let options: Vec<(String, String)> = options
        .iter()
        .map(|(name, value)| (format!("{provider}.{name}"), value.clone()))
        .collect();
    Ok(builder.with_devices([device], Some(&options))?)
}
