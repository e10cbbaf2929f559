use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gpus;
use crate::commands::{Context, Failure, OrFail};
use crate::env;
use crate::fs::File;
use crate::serve::{Collector, Lines, Pulse, TelemetryOptions};
use crate::term::{Align, Status, Table, duration};

/// How often a person who watches is told how the models do.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most models that the status shows.
const MOST_MODELS: usize = 8;

/// Is what the command line says of what is seen of requests.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "To be seen")]
pub struct SeenArgs {
    /// Write a line of JSON for each request to FILE, at its end; - is stdout
    #[arg(long, value_name = "FILE")]
    access_log: Option<String>,
    /// Send traces to the OpenTelemetry collector at this address, such as http://localhost:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<Collector>,
}

impl SeenArgs {
    /// Opens what is to hear of requests.
    ///
    /// Errors: the file of the access log cannot be opened.
    pub fn options(&self, context: &Context) -> Result<TelemetryOptions, Failure> {
        let log = self.access_log.as_deref().map(|name| lines(name, context));
        Ok(TelemetryOptions {
            log: log.transpose()?,
            collector: self.otlp.clone(),
            pulse: context.term.shows_progress().then_some(INTERVAL),
            gpus: gpus::watch(context),
            clock: env::now,
        })
    }
}

fn lines(name: &str, context: &Context) -> Result<Lines, Failure> {
    if name == "-" {
        let term = context.term;
        return Ok(Arc::new(move |bytes| term.stream(|to| to.write_all(bytes))));
    }
    let path = context.env.current_dir.join(Path::new(name));
    let opened = File::open_to_append(&path);
    let file = Mutex::new(opened.or_fail(|| "cannot keep an access log".into())?.into_system());
    // One write for all of them, so that lines stay whole beside other writers.
    Ok(Arc::new(move |bytes| {
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }))
}

/// Shows a person who watches how the models do.
pub fn show(status: &Status, pulses: &[Pulse]) {
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("REQUESTS/S", Align::Right),
        ("P50", Align::Right),
        ("P99", Align::Right),
        ("WAITING", Align::Right),
    ]);
    for pulse in pulses.iter().take(MOST_MODELS) {
        let name = format!("{}:{}", pulse.name, pulse.version);
        let per_second = match pulse.requests_per_second {
            few if few < 10.0 => format!("{few:.1}"),
            many => format!("{many:.0}"),
        };
        let time = |time: Duration| match time {
            Duration::ZERO => "-".to_owned(),
            time => duration(time),
        };
        table.row([
            name,
            per_second,
            time(pulse.p50),
            time(pulse.p99),
            pulse.waiting.to_string(),
        ]);
    }
    let mut lines = table.to_string();
    if let more @ 1.. = pulses.len().saturating_sub(MOST_MODELS) {
        let _ = write!(lines, "\nand {more} more");
    }
    status.show(lines);
}
