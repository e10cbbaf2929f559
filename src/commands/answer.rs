use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::explain::Explanation;
use crate::runtime::Refused;
use crate::tensor::{Port, Tensor, for_data, json};
use crate::term::{Align, Table, Term};

/// Is what one `run` found out.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The artifact, folder or file, as the user named it.
    pub model: &'a str,
    /// The manifest's digest; that of a folder or file is what `build` would give.
    pub digest: &'a str,
    /// The provider that ran.
    pub provider: &'a str,
    /// The providers that did not, and why.
    pub refused: &'a [Refused],
    /// What the session was made with that is not as it is by itself.
    pub options: Vec<&'static str>,
    /// Whether tuning chose the provider and the options.
    pub tuned: bool,
    /// Which provider has which nodes, where it was asked for.
    pub explanation: Option<&'a Explanation<'a>>,
    /// The outputs, in the model's order.
    pub outputs: &'a [(&'a Port, &'a Tensor)],
    /// How long the model took to load.
    pub load: Duration,
    /// How long the call took.
    pub run: Duration,
}

impl Answer<'_> {
    /// Writes the answer as the JSON document of the contract, tensors streamed.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|refused| json!({"provider": refused.provider.name(), "reason": refused.reason.to_string()}))
            .collect();
        write!(
            to,
            "{{\"model\":{},\"digest\":{},\"provider\":{},\"options\":{},\"tuned\":{},\"refused\":{},\"outputs\":",
            json!(self.model),
            json!(self.digest),
            json!(self.provider),
            json!(self.options),
            self.tuned,
            json!(refused),
        )?;
        write_outputs(self.outputs, to)?;
        let timing = json!({"load": milliseconds(self.load), "run": milliseconds(self.run)});
        write!(to, ",\"timing_ms\":{timing}")?;
        if let Some(explanation) = self.explanation {
            write!(to, ",\"explain\":{}", explanation.to_json())?;
        }
        writeln!(to, "}}")
    }

    /// Prints the answer for a person.
    pub fn print(&self, term: &Term) -> io::Result<()> {
        let mut table = Table::new(&[("OUTPUT", Align::Left), ("TYPE", Align::Left), ("VALUE", Align::Left)]);
        for (port, tensor) in self.outputs {
            let kind = format!("{} {:?}", tensor.dtype(), tensor.shape());
            table.row([port.name.to_string(), kind, summarize(tensor)]);
        }
        term.data(table)
    }
}

/// Writes `{NAME: {dtype, shape, data}, …}`.
pub fn write_outputs(outputs: &[(&Port, &Tensor)], to: &mut dyn Write) -> io::Result<()> {
    write!(to, "{{")?;
    for (at, (port, tensor)) in outputs.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (name, dtype, shape) = (
            json!(port.name.as_str()),
            json!(tensor.dtype().name()),
            json!(tensor.shape()),
        );
        write!(to, "{comma}{name}:{{\"dtype\":{dtype},\"shape\":{shape},\"data\":")?;
        json::write(tensor, &mut *to)?;
        write!(to, "}}")?;
    }
    write!(to, "}}")
}

/// Gives a duration in milliseconds, rounded to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes a small tensor whole, and of a large one its first elements.
fn summarize(tensor: &Tensor) -> String {
    const SHOWN: usize = 12;
    if tensor.data().len() <= SHOWN {
        return json::encode(tensor).to_string();
    }
    let first: Vec<String> = for_data!(tensor.data(), elements => {
        elements.iter().take(SHOWN).map(|element| format!("{element:?}")).collect()
    });
    format!("[{}, … {} in all]", first.join(", "), tensor.data().len())
}
