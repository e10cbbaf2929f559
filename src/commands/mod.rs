//! The verbs, one file each: its arguments, its help, its `run`.

pub mod bench;
pub mod build;
pub mod completion;
pub mod doctor;
pub mod export;
pub mod images;
pub mod init;
pub mod inspect;
pub mod load;
pub mod login;
pub mod logout;
pub mod machine;
pub mod probe;
pub mod provider;
pub mod prune;
pub mod pull;
pub mod push;
pub mod rm;
pub mod run;
pub mod save;
pub mod serve;
pub mod store;
pub mod tag;
pub mod tags;
pub mod test;
pub mod trial;
pub mod tune;
pub mod unpack;

mod answer;
mod batch;
mod explain;
mod failure;
mod first_run;
mod generate;
mod given;
mod guess;
mod guess_generation;
mod hints;
mod html;
mod inputs;
mod latency;
mod limit;
mod moving;
mod offers;
mod opened;
mod operand;
mod outputs;
mod ran;
mod records;
mod remote;
mod samples;
mod serving;
mod subject;
mod synthetic;
mod tuned;

pub use failure::{Code, Failure, OrFail};

use std::path::PathBuf;

use crate::env::Env;
use crate::store::Store;
use crate::term::Term;

/// Is what every verb is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The surroundings of the process.
    pub env: Env,
    /// The output streams.
    pub term: Term,
}

impl Context {
    /// Gives the folder of the store, packs and caches.
    ///
    /// Errors: neither `GPUX_HOME` nor a home folder is known.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        self.env.home.clone().ok_or_else(|| {
            Failure::new(
                Code::Failed,
                "there is no folder for the store: the environment names no home folder",
            )
            .hint("set GPUX_HOME to a folder that gpux may use")
        })
    }

    /// Opens the local store.
    pub fn store(&self) -> Result<Store, Failure> {
        let home = self.home()?;
        Store::open(&home).or_fail(|| format!("cannot open the store in `{}`", home.display()))
    }

    /// Gives `SOURCE_DATE_EPOCH` as an RFC 3339 time, where it is set.
    ///
    /// Errors: it is not a whole number of seconds.
    pub fn source_date(&self) -> Result<Option<String>, Failure> {
        let Some(value) = &self.env.source_date_epoch else {
            return Ok(None);
        };
        let seconds = value.to_str().and_then(|text| text.parse::<i64>().ok());
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        match time {
            Some(time) => Ok(Some(time.to_string())),
            None => Err(Failure::new(
                Code::Usage,
                format!("SOURCE_DATE_EPOCH is `{}`, which is no time", value.to_string_lossy()),
            )
            .hint("give it in whole seconds since 1970, or unset it")),
        }
    }
}
