use std::fmt;
use std::path::{Path, PathBuf};

use crate::commands::remote::{self, RemoteArgs};
use crate::commands::{Context, Failure, OrFail, machine};
use crate::oci::Reference;
use crate::provider::install::{
    Fetched, Fetcher, InstallError, Item, ShelfLock, pack_reference, take_artifact, take_core, take_pack, take_site,
    take_wheel,
};
use crate::provider::{Hardware, Installed, Origin, PACK_FILE, Pack, Platform, ProviderKind, Role, Row, row};

/// Names where packs may come from, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Origins {
    /// Libraries that this machine has already
    System,
    /// What lies at GPUX_PACKS: artifacts below a prefix, or a folder
    Packs,
    /// The user's pip
    Pip,
    /// The user's uv
    Uv,
}

impl Origins {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Origins; 4] = [Origins::System, Origins::Packs, Origins::Pip, Origins::Uv];

    fn name(self) -> &'static str {
        match self {
            Origins::System => "this machine",
            Origins::Packs => "GPUX_PACKS",
            Origins::Pip => "pip",
            Origins::Uv => "uv",
        }
    }
}

/// Says why no source gave a pack: every source with its reason.
#[derive(Debug)]
pub struct NoSource(pub Vec<(Origins, String)>);

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no source has it")?;
        for (origin, why) in &self.0 {
            write!(f, "\n  {}: {why}", origin.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for NoSource {}

/// Is the way to every source.
pub struct Ways<'a> {
    pub context: &'a Context,
    pub hardware: &'a Hardware,
    pub remote: &'a RemoteArgs,
    /// The sources that may be tried.
    pub origins: &'a [Origins],
}

impl Ways<'_> {
    /// Tries the sources that move no bytes over a network.
    ///
    /// Errors: why this machine does not have it.
    pub fn take_here(&self, item: &Item, kind: ProviderKind, lock: &ShelfLock) -> Result<Installed, String> {
        let mut sources = machine::sources(self.context, self.hardware);
        sources.packs = None;
        sources.explicit = None;
        let found = sources.find(kind);
        let mut refusals = Vec::new();
        for plan in &found.plans {
            let taken = lock.stage().and_then(|mut staging| {
                let pack = take_core(&mut staging, &plan.core, item.row, plan.origin != Origin::Python)?;
                staging.commit(&pack)
            });
            match taken {
                Ok(installed) => return Ok(installed),
                Err(error) => refusals.push(error.to_string()),
            }
        }
        if refusals.is_empty() {
            let telling = found.looked.iter().find(|it| {
                !matches!(
                    it.refusal,
                    crate::provider::Refusal::Missing | crate::provider::Refusal::Lacks(_)
                )
            });
            return Err(telling.map_or_else(|| format!("no ONNX Runtime with {kind} is here"), ToString::to_string));
        }
        Err(refusals.join("; "))
    }

    /// Tries the sources that move bytes over a network, in order.
    ///
    /// Errors: [`NoSource`] with the reason of each.
    pub fn fetch(
        &self,
        item: &Item,
        lock: &ShelfLock,
        mut reasons: Vec<(Origins, String)>,
    ) -> Result<Installed, NoSource> {
        for &origin in self.origins {
            let taken = match origin {
                Origins::System => continue,
                Origins::Packs => self.take_artifact_of(item, lock),
                Origins::Pip => self.fetch_with(item, lock, Fetcher::pip),
                Origins::Uv => self.fetch_with(item, lock, Fetcher::uv),
            };
            match taken {
                Ok(installed) => return Ok(installed),
                Err(why) => reasons.push((origin, why)),
            }
        }
        Err(NoSource(reasons))
    }

    fn take_artifact_of(&self, item: &Item, lock: &ShelfLock) -> Result<Installed, String> {
        let prefix = self.context.env.provider.packs.as_ref().ok_or("it is not set")?;
        if prefix.starts_with(['/', '.']) {
            let folder = self.context.env.current_dir.join(prefix);
            return from_folder(&folder, item, lock).map_err(|error| error.to_string());
        }
        let reference = pack_reference(prefix, item.row.name, &item.wheel.version, Platform::current());
        let reference = reference.map_err(|error| error.to_string())?;
        from_reference(&reference, self.remote, lock, self.context).map_err(|failure| one_line(&failure))
    }

    fn fetch_with(
        &self,
        item: &Item,
        lock: &ShelfLock,
        find: fn(&[PathBuf], &[PathBuf]) -> Result<Fetcher, InstallError>,
    ) -> Result<Installed, String> {
        let env = &self.context.env;
        let fetch = || {
            let fetcher = find(&env.python_environments, &env.provider.search_path)?;
            let work = lock.stage()?;
            let fetched = fetcher.fetch(item, work.folder(), self.context.term.shows_progress())?;
            let mut staging = lock.stage()?;
            let mut pack = match fetched {
                Fetched::Wheel(wheel) => take_wheel(&mut staging, &wheel)?,
                Fetched::Site(site) => take_site(&mut staging, &site, item.row, &item.wheel.version)?,
            };
            pack.source = Some(format!("{}, {}", item.wheel.file, fetcher.name()));
            staging.commit(&pack)
        };
        fetch().map_err(|error: InstallError| error.to_string())
    }
}

fn one_line(failure: &Failure) -> String {
    std::iter::once(failure.what().to_owned())
        .chain(failure.causes())
        .collect::<Vec<_>>()
        .join(": ")
}

/// Takes a pack that is an artifact; one that is not in the store is pulled, and leaves it again.
pub fn from_reference(
    reference: &Reference,
    remote: &RemoteArgs,
    lock: &ShelfLock,
    context: &Context,
) -> Result<Installed, Failure> {
    let what = || format!("cannot take `{reference}`");
    let store = context.store()?;
    let is_here = store.resolve(reference).is_ok();
    if !is_here && !reference.is_local() {
        remote::pull(&store, reference, remote, context)?;
    }
    let (entry, _lease) = store.checkout(reference).or_fail(what)?;
    let mut staging = lock.stage().or_fail(what)?;
    let pack = take_artifact(&mut staging, &store, reference, &entry.descriptor).or_fail(what)?;
    let installed = staging.commit(&pack).or_fail(what)?;
    if !is_here {
        store.remove(reference).or_fail(what)?;
    }
    Ok(installed)
}

/// Takes a pack out of a folder of packs, wheels or libraries.
fn from_folder(folder: &Path, item: &Item, lock: &ShelfLock) -> Result<Installed, InstallError> {
    let name = item.row.name;
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|it| it == item.wheel.file.as_str())
            || Pack::read(path).is_ok_and(|pack| pack.name.as_str() == name)
    };
    let mut inside = crate::fs::list(folder)?;
    inside.sort();
    // A row with a core is made of the libraries themselves, where nobody made a pack of them.
    let is_core = item.row.role == Some(Role::Core) && !crate::provider::cores_in(folder).is_empty();
    match inside.into_iter().rfind(is_it) {
        Some(place) => {
            let mut taken = from_path(&place, Some(item.row), lock)?;
            taken.pop().ok_or(InstallError::NothingThere { path: place })
        }
        None if is_core => from_libraries(folder, item.row, lock),
        None => Err(InstallError::NothingOf {
            path: folder.to_owned(),
            pack: name,
        }),
    }
}

/// Takes what lies at a path: a wheel, a pack, a folder of either, or a folder with ONNX Runtime.
pub fn from_path(path: &Path, wanted: Option<&'static Row>, lock: &ShelfLock) -> Result<Vec<Installed>, InstallError> {
    if crate::fs::is_file(path) {
        let mut staging = lock.stage()?;
        let pack = take_wheel(&mut staging, path)?;
        return Ok(vec![staging.commit(&pack)?]);
    }
    if crate::fs::is_file(&path.join(PACK_FILE)) {
        let mut staging = lock.stage()?;
        let pack = take_pack(&mut staging, path)?;
        return Ok(vec![staging.commit(&pack)?]);
    }
    let mut inside = crate::fs::list(path)?;
    inside.sort();
    let is_wheel = |it: &PathBuf| it.extension().is_some_and(|it| it == "whl");
    let parts: Vec<&PathBuf> = inside
        .iter()
        .filter(|it| is_wheel(it) || crate::fs::is_file(&it.join(PACK_FILE)))
        .collect();
    if !parts.is_empty() {
        let mut all = Vec::new();
        for part in parts {
            all.extend(from_path(part, wanted, lock)?);
        }
        return Ok(all);
    }
    let nothing = || InstallError::NothingThere { path: path.to_owned() };
    let row = wanted.or_else(|| row("cpu")).ok_or_else(nothing)?;
    Ok(vec![from_libraries(path, row, lock)?])
}

/// Makes a pack of the ONNX Runtime in a folder, and of what lies beside it.
fn from_libraries(folder: &Path, row: &'static Row, lock: &ShelfLock) -> Result<Installed, InstallError> {
    let nothing = || InstallError::NothingThere {
        path: folder.to_owned(),
    };
    let core = crate::provider::cores_in(folder).pop().ok_or_else(nothing)?;
    let mut staging = lock.stage()?;
    let pack = take_core(&mut staging, &core, row, false)?;
    staging.commit(&pack)
}
