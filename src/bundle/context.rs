use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::fs;

use super::Error;

/// The most files that are looked through for patterns.
const MOST_FILES: usize = 100_000;

/// Is the folder that a build may take files from.
#[derive(Debug)]
pub struct BuildContext {
    root: PathBuf,
    /// The folder with every link resolved; what stays below it stays in the context.
    real_root: PathBuf,
    follow_links: bool,
}

/// Says why a path of the context is not a file to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there.
    Missing,
    /// It is a folder, a device, a pipe or a socket.
    NotAFile(&'static str),
    /// It is a link, or below one, that leads out of the context.
    Leaves,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => write!(f, "does not exist"),
            Fault::NotAFile(found) => write!(f, "is {found}, and not a file"),
            Fault::Leaves => write!(f, "is a link out of the build context"),
        }
    }
}

impl BuildContext {
    /// Takes the folder.
    pub fn new(root: &Path, follow_links: bool) -> Result<Self, fs::Error> {
        Ok(BuildContext {
            root: root.to_owned(),
            real_root: fs::canonical(root)?,
            follow_links,
        })
    }

    /// Finds the file at `relative`.
    ///
    /// Errors: the outer ones are the system's; [`Fault`] says why the path is no file of the context.
    pub fn file(&self, relative: &str) -> Result<Result<PathBuf, Fault>, fs::Error> {
        let path = self.root.join(relative);
        let found = match fs::stat(&path)? {
            None => return Ok(Err(Fault::Missing)),
            Some(found) if found.is_file => fs::canonical(&path)?,
            Some(found) if found.is_folder => return Ok(Err(Fault::NotAFile("a folder"))),
            Some(_) => return Ok(Err(Fault::NotAFile("a pipe, socket or device"))),
        };
        if !self.follow_links && !found.starts_with(&self.real_root) {
            return Ok(Err(Fault::Leaves));
        }
        Ok(Ok(path))
    }

    /// Lists every path below the context that is no folder, relative to it with `/`, sorted.
    ///
    /// What version control keeps in `.git` is left out, and a folder that links make appear twice is listed once.
    pub fn walk(&self) -> Result<Vec<String>, Error> {
        let mut files = Vec::new();
        let mut seen = BTreeSet::from([self.real_root.clone()]);
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for name in fs::names(&self.root.join(&folder))? {
                if name == ".git" {
                    continue;
                }
                let relative = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                let path = self.root.join(&relative);
                if fs::stat(&path)?.is_some_and(|found| found.is_folder) {
                    let real = fs::canonical(&path)?;
                    let inside = self.follow_links || real.starts_with(&self.real_root);
                    if inside && seen.insert(real) {
                        folders.push(relative);
                    }
                } else {
                    files.push(relative);
                }
                if files.len() + folders.len() > MOST_FILES {
                    return Err(Error::TooManyFiles {
                        root: self.root.clone(),
                        limit: MOST_FILES,
                    });
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}
