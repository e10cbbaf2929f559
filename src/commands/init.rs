use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle;
use crate::fs;
use crate::gpuxfile;
use crate::onnx;

use super::{Code, Context, Failure, OrFail, guess, guess_generation};

/// Write a GPUXfile from a model's own signature
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where files of a Hugging Face model lie beside it (config.json, preprocessor_config.json, tokenizer.json, \
                        generation_config.json), \
                        the steps for pictures, texts and answers are taken from them."
)]
pub struct Args {
    /// The model, or a folder with one; without it, the only .onnx file here
    #[arg(value_name = "MODEL.onnx|DIR")]
    model: Option<PathBuf>,
    /// The artifact's name; without it, the model's file name
    #[arg(long)]
    name: Option<String>,
    /// Replace a GPUXfile that is there
    #[arg(long)]
    force: bool,
}

/// Writes the GPUXfile beside the model.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let is_folder = |path: &Path| fs::stat(path).is_ok_and(|found| found.is_some_and(|found| found.is_folder));
    let folder = match &args.model {
        Some(path) => Some(path.clone()).filter(|path| is_folder(path)),
        None => Some(context.env.current_dir.clone()),
    };
    if let Some(folder) = folder
        && let Some(text) = guess_generation::draft(&folder, args.name.as_deref())?
    {
        return write(&folder, &text, &args, context);
    }
    let path = match args.model.clone() {
        Some(path)
            if fs::stat(&path)
                .or_fail(|| "cannot look for a model".into())?
                .is_some_and(|found| found.is_folder) =>
        {
            path.join(only_model(&path)?)
        }
        Some(path) => path,
        None => only_model(&context.env.current_dir)?,
    };
    let what = || format!("cannot write a GPUXfile for `{}`", path.display());
    let bytes = fs::map(&path).or_fail(what)?;
    let model = onnx::Model::parse(bytes).or_fail(what)?;
    let signature = model.signature().or_fail(what)?;
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    refuse_present(folder, &args)?;
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let source = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let guess = guess::steps(folder, &signature)?;
    let called = match (&args.name, folder.file_name()) {
        (Some(name), _) => name.clone(),
        // Every model of a hub is called the same, and its folder is not.
        (None, Some(folder)) if !guess.is_empty() && stem == "model" => folder.to_string_lossy().into_owned(),
        _ => stem,
    };
    let text = gpuxfile::draft_with(&called, &source, &signature, &guess.steps);
    let name = gpuxfile::parse(&text, "GPUXfile")
        .map_err(Box::new)
        .or_fail(what)?
        .name
        .to_string();
    for (file, text) in &guess.files {
        let file = folder.join(file);
        fs::replace(&file, text.as_bytes()).or_fail(what)?;
        context.term.tell(format_args!("wrote {}", file.display()));
    }
    for note in &guess.notes {
        context.term.warn(note);
    }
    write_file(folder, &text, &name, context)
}

/// Writes a GPUXfile that was made whole.
fn write(folder: &Path, text: &str, args: &Args, context: &Context) -> Result<(), Failure> {
    refuse_present(folder, args)?;
    let what = || format!("cannot write a GPUXfile for `{}`", folder.display());
    let file = gpuxfile::parse(text, "GPUXfile").map_err(Box::new).or_fail(what)?;
    write_file(folder, text, file.name.as_str(), context)
}

fn refuse_present(folder: &Path, args: &Args) -> Result<(), Failure> {
    let what = || format!("cannot write a GPUXfile into `{}`", folder.display());
    match bundle::find_gpuxfile(folder).or_fail(what)? {
        Some(present) if !args.force => Err(Failure::new(
            Code::Usage,
            format!("{}: `{}` is there already", what(), present.display()),
        )
        .hint("--force replaces it")),
        _ => Ok(()),
    }
}

fn write_file(folder: &Path, text: &str, name: &str, context: &Context) -> Result<(), Failure> {
    let target = folder.join("GPUXfile");
    let what = || format!("cannot write `{}`", target.display());
    fs::replace(&target, text.as_bytes()).or_fail(what)?;
    if context.term.json() {
        context
            .term
            .data(json!({"path": target.display().to_string(), "name": name}))?;
    } else {
        context.term.tell(format_args!("wrote {}", target.display()));
        context.term.tell(format_args!("next: gpux build {}", folder.display()));
    }
    Ok(())
}

fn only_model(folder: &Path) -> Result<PathBuf, Failure> {
    let mut models: Vec<PathBuf> = fs::names(folder)
        .or_fail(|| "cannot look for a model".into())?
        .into_iter()
        .map(PathBuf::from)
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .collect();
    match (models.pop(), models.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err(Failure::new(Code::Usage, "there are several .onnx files here").hint("name one: gpux init MODEL.onnx"))
        }
        (None, _) => {
            Err(Failure::new(Code::NotFound, "there is no .onnx file here").hint("name one: gpux init MODEL.onnx"))
        }
    }
}
