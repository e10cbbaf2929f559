use serde_json::json;

use crate::bundle;
use crate::oci::{Descriptor, Document, Reference};
use crate::onnx::Summary;
use crate::tensor::{Dim, Port, Signature};
use crate::term::{Align, Table, bytes, count};
use crate::transfer;

use super::remote::RemoteArgs;
use super::subject::{LayerFacts, Subject};
use super::{Context, Failure, OrFail};

/// Show a model's signature, operators, parameters and layers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to look at: NAME[:TAG], a folder with a GPUXfile, or MODEL.onnx
    #[arg(value_name = "REF|DIR|MODEL.onnx")]
    operand: String,
    /// Look at a registry, without pulling the layers
    #[arg(long)]
    remote: bool,
    #[command(flatten)]
    registry: RemoteArgs,
}

/// Prints what is known without running the model.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.remote {
        return inspect_remote(&args, context);
    }
    let subject = Subject::open(&args.operand, context)?;
    let digest = subject.digest(context)?.to_string();
    let layers = subject.layers()?;
    let (signature, summary) = (&subject.signature, subject.model.summary());
    if context.term.json() {
        context
            .term
            .data(document(&args.operand, &digest, (signature, &summary), &layers))?;
        return Ok(());
    }
    let mut facts = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut line = |name: &str, value: String| facts.row([name.to_owned(), value]);
    line("model", args.operand.clone());
    line("digest", digest);
    if let Some(gpuxfile) = &subject.gpuxfile {
        line("name", gpuxfile.name.value.as_str().to_owned());
        if let Some(version) = &gpuxfile.version {
            line("version", version.value.to_string());
        }
        if let Some(description) = &gpuxfile.description {
            line("description", description.clone());
        }
        if !gpuxfile.licenses.is_empty() {
            line("licenses", gpuxfile.licenses.join(", "));
        }
    }
    line(
        "parameters",
        format!("{} ({})", count(summary.parameters), bytes(summary.parameter_bytes)),
    );
    let opsets: Vec<String> = summary
        .opsets
        .iter()
        .map(|(domain, version)| format!("{domain} {version}"))
        .collect();
    line("opsets", opsets.join(", "));
    context.term.data(facts)?;
    context
        .term
        .data(format_args!("\n{}", ports("INPUT", &signature.inputs)))?;
    context
        .term
        .data(format_args!("\n{}", ports("OUTPUT", &signature.outputs)))?;
    let mut operators = Table::new(&[("OPERATOR", Align::Left), ("NODES", Align::Right)]);
    for (name, nodes) in &summary.operators {
        operators.row([name.to_string(), nodes.to_string()]);
    }
    context.term.data(format_args!("\n{operators}"))?;
    if !layers.is_empty() {
        let columns = [("LAYER", Align::Left), ("DIGEST", Align::Left), ("SIZE", Align::Right)];
        let mut table = Table::new(&columns);
        for layer in &layers {
            table.row([layer.path.clone(), layer.digest.short(), bytes(layer.size_bytes)]);
        }
        context.term.data(format_args!("\n{table}"))?;
    }
    Ok(())
}

fn ports(head: &str, ports: &[Port]) -> Table {
    let mut table = Table::new(&[(head, Align::Left), ("TYPE", Align::Left), ("SHAPE", Align::Left)]);
    for port in ports {
        table.row([port.name.to_string(), port.dtype.to_string(), port.shape.to_string()]);
    }
    table
}

/// Prints what the manifest at a registry says; the model itself stays there.
fn inspect_remote(args: &Args, context: &Context) -> Result<(), Failure> {
    let reference: Reference = args
        .operand
        .parse()
        .or_fail(|| format!("cannot read `{}` as a reference", args.operand))?;
    let remote = args.registry.remote(&reference, context)?;
    let found = transfer::inspect(&reference, &remote).or_fail(|| format!("cannot inspect `{reference}`"))?;
    let digest = found.descriptor.digest.to_string();
    let layers: Vec<&Descriptor> = match &found.document {
        Document::Manifest(manifest) => manifest.layers.iter().collect(),
        Document::Index(index) => index.manifests.iter().collect(),
    };
    let path = |layer: &Descriptor| bundle::layer_path(layer).unwrap_or_default().escape_debug().to_string();
    if context.term.json() {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({"path": path(layer), "media_type": layer.media_type.as_str(),
                    "digest": layer.digest.to_string(), "size_bytes": layer.size_bytes})
            })
            .collect();
        context.term.data(json!({
            "reference": args.operand,
            "digest": digest,
            "media_type": found.descriptor.media_type.as_str(),
            "layers": layers,
        }))?;
        return Ok(());
    }
    context
        .term
        .data(format_args!("model   {reference}\ndigest  {digest}\n"))?;
    let mut table = Table::new(&[("LAYER", Align::Left), ("SIZE", Align::Right), ("DIGEST", Align::Left)]);
    for layer in layers {
        table.row([path(layer), bytes(layer.size_bytes), layer.digest.short()]);
    }
    context.term.data(table)?;
    Ok(())
}

fn document(
    reference: &str,
    digest: &str,
    (signature, summary): (&Signature, &Summary),
    layers: &[LayerFacts],
) -> serde_json::Value {
    let ports = |ports: &[Port]| -> Vec<serde_json::Value> {
        ports
            .iter()
            .map(|port| json!({"name": port.name.as_str(), "dtype": port.dtype.name(), "shape": shape(port)}))
            .collect()
    };
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            json!({
                "path": layer.path,
                "media_type": layer.media_type.as_str(),
                "digest": layer.digest.to_string(),
                "size_bytes": layer.size_bytes,
            })
        })
        .collect();
    let opsets: serde_json::Map<_, _> = summary
        .opsets
        .iter()
        .map(|(domain, version)| (domain.as_str().to_owned(), json!(version)))
        .collect();
    let operators: serde_json::Map<_, _> = summary
        .operators
        .iter()
        .map(|(name, nodes)| (name.as_str().to_owned(), json!(nodes)))
        .collect();
    json!({
        "reference": reference,
        "digest": digest,
        "inputs": ports(&signature.inputs),
        "outputs": ports(&signature.outputs),
        "opsets": opsets,
        "operators": operators,
        "parameters": summary.parameters,
        "layers": layers,
    })
}

/// Gives a declared shape as JSON: a number, a name or null each; null where the rank is open.
fn shape(port: &Port) -> serde_json::Value {
    let Some(dims) = port.shape.dims() else {
        return serde_json::Value::Null;
    };
    dims.iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => json!(size),
            Dim::Symbol(name) => json!(name),
            Dim::Unknown => serde_json::Value::Null,
        })
        .collect()
}
