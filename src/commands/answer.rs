use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::ran::Ran;
use crate::tensor::{Port, Tensor, for_data, json};
use crate::term::{Align, Table, Term};

/// Is what one `run` of tensors found out.
#[derive(Debug)]
pub struct Answer<'a> {
    pub ran: Ran<'a>,
    /// The outputs, in the model's order.
    pub outputs: &'a [(&'a Port, &'a Tensor)],
}

impl Answer<'_> {
    /// Writes the answer as the JSON document of the contract, tensors streamed.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        self.ran.write_json(to, "outputs", |to| write_outputs(self.outputs, to))
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
