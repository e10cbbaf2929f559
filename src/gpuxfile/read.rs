use super::error::{Error, PortKind, Problem, printable};
use super::fields::{Field, Fields};
use super::file::{Gpuxfile, PortDeclaration, ProviderOptions, Runtime, Serving, Trace};
use super::generation::read_generation;
use super::keys::{MODEL_KEYS, ROOT_KEYS, RUNTIME_KEYS, SERVING_KEYS};
use super::name::{ArtifactName, NameFault};
use super::node::{self, Content};
use super::notice::{Notice, NoticeReason};
use super::paths::{ContextPath, Pattern, PatternFault};
use super::ports::read_ports;
use super::source::{Located, Place, Source};
use super::steps::{read_postprocessing, read_preprocessing};
use super::value::{Value, is_null};
use super::{PROVIDERS, SIZE_LIMIT_BYTES, python};

/// The most of anything that is counted: threads, instances, requests in a batch.
const COUNT_LIMIT: u64 = 65_536;
/// The most models of an artifact.
const MODEL_LIMIT: usize = 64;

/// Reads a GPUXfile, or a `gpux.yml` of the Python tool of the same name.
///
/// `origin` is the file's name in messages.
/// Errors: the first thing that is wrong, at its line and column.
pub fn parse(text: &str, origin: &str) -> Result<Gpuxfile, Error> {
    if text.len() as u64 > SIZE_LIMIT_BYTES {
        return Err(Error::new(Place::of_file(origin), Problem::TooLarge));
    }
    // A byte order mark may start any YAML text, and some editors write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(text, origin);
    let root = node::read(text, &source)?;
    if is_null(&root) {
        return Err(Error::new(source.whole(), Problem::Empty));
    }
    let reader = Reader {
        source: &source,
        python: python::is_python(&root, origin),
        notices: Vec::new(),
    };
    reader.root(Field {
        name: String::new(),
        key_span: root.span,
        node: &root,
        source: &source,
    })
}

/// Reads a GPUXfile as [`parse`] does, from bytes that may be anything.
pub fn parse_bytes(bytes: &[u8], origin: &str) -> Result<Gpuxfile, Error> {
    if bytes.len() as u64 > SIZE_LIMIT_BYTES {
        return Err(Error::new(Place::of_file(origin), Problem::TooLarge));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, origin),
        Err(error) => {
            let offset = error.valid_up_to();
            // What is text up to there gives the line and column.
            let valid = String::from_utf8_lossy(&bytes[..offset]);
            let source = Source::new(&valid, origin);
            let end = source.span_at(valid.matches('\n').count() + 1, usize::MAX);
            let utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
            Err(Error::at(&source, end, Problem::NotUtf8 { offset, utf16 }))
        }
    }
}

/// Turns the tree into values, and gathers notices on the way.
pub(super) struct Reader<'n> {
    pub source: &'n Source,
    pub python: bool,
    pub notices: Vec<Notice>,
}

impl<'n> Reader<'n> {
    fn root(mut self, field: Field<'n>) -> Result<Gpuxfile, Error> {
        let fields = field.fields(ROOT_KEYS)?;
        if let Some(field) = fields.get("apiVersion") {
            let text = field.text()?;
            if text != "gpux/v1" {
                return Err(field.error(Problem::ApiVersion(printable(text))));
            }
        }
        let name = self.name(fields.need("name")?)?;
        let version = self.optional(&fields, "version", Reader::version)?.flatten();
        let description = match fields.get("description") {
            Some(field) => Some(field.prose()?.to_owned()).filter(|text| !text.is_empty()),
            None => None,
        };
        let models = self.optional(&fields, "models", Reader::models)?.unwrap_or_default();
        let entry = models.iter().find(|(name, _)| name == "encoder").or(models.first());
        let model = match (fields.get("model"), entry) {
            (Some(field), Some(_)) => return Err(field.error(Problem::ModelAndModels)),
            (None, Some((_, path))) => path.clone(),
            (_, None) => self.model(fields.need("model")?)?,
        };
        let file = Gpuxfile {
            name,
            version,
            description,
            licenses: texts(&fields, "licenses")?,
            authors: texts(&fields, "authors")?,
            model,
            models,
            inputs: self.ports(&fields, "inputs", PortKind::Input)?,
            outputs: self.ports(&fields, "outputs", PortKind::Output)?,
            files: self.optional(&fields, "files", Reader::files)?.unwrap_or_default(),
            runtime: self.optional(&fields, "runtime", Reader::runtime)?.unwrap_or_default(),
            serving: self.optional(&fields, "serving", Reader::serving)?.unwrap_or_default(),
            preprocessing: self
                .optional(&fields, "preprocessing", read_preprocessing)?
                .unwrap_or_default(),
            postprocessing: match fields.get("postprocessing") {
                Some(field) => read_postprocessing(field)?,
                None => Vec::new(),
            },
            generation: match fields.get("generation") {
                Some(field) => Some(field.located(read_generation(&field)?)),
                None => None,
            },
            metadata: self
                .optional(&fields, "metadata", Reader::metadata)?
                .unwrap_or_default(),
            trace: Trace::default(),
        };
        Ok(Gpuxfile {
            trace: Trace {
                source: self.source.clone(),
                notices: sorted(self.notices),
                python: self.python,
            },
            ..file
        })
    }

    /// Reads a key that may be missing.
    fn optional<T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        read: impl Fn(&mut Self, Field<'n>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        fields.get(key).map(|field| read(self, field)).transpose()
    }

    pub fn notice(&mut self, field: &Field<'_>, reason: NoticeReason) {
        self.notices.push(Notice {
            place: self.source.place(field.key_span),
            key: field.name.clone(),
            reason,
        });
    }

    fn name(&mut self, field: Field<'n>) -> Result<Located<ArtifactName>, Error> {
        let text = field.text()?;
        let fault = match ArtifactName::parse(text) {
            Ok(name) => return Ok(field.located(name)),
            Err(fault) => fault,
        };
        let offer = match &fault {
            NameFault::Host(_) => text
                .split_once('/')
                .and_then(|(_, rest)| ArtifactName::resembling(rest)),
            _ => ArtifactName::resembling(text),
        };
        match offer {
            Some(name) if self.python => {
                let to = name.to_string();
                self.notice(&field, NoticeReason::Renamed { to });
                Ok(field.located(name))
            }
            offer => Err(field.error(Problem::Name {
                name: printable(text),
                fault,
                offer: offer.map(|name| name.to_string()),
            })),
        }
    }

    fn version(&mut self, field: Field<'n>) -> Result<Option<Located<semver::Version>>, Error> {
        let text = field.text_or_number()?;
        let reason = match semver::Version::parse(text) {
            Ok(_) if text.len() > 128 => {
                return Err(field.error(Problem::VersionLength { length: text.len() }));
            }
            Ok(version) => return Ok(Some(field.located(version))),
            Err(reason) => reason,
        };
        let likely = likely_version(text);
        if self.python {
            let reason = match &likely {
                Some(version) => NoticeReason::Reversioned {
                    to: version.to_string(),
                },
                None => NoticeReason::NoVersion,
            };
            self.notice(&field, reason);
            return Ok(likely.map(|version| field.located(version)));
        }
        Err(field.error(Problem::Version {
            text: printable(text),
            reason,
            example: likely.map_or_else(|| "1.0.0".to_owned(), |version| version.to_string()),
        }))
    }

    fn model(&mut self, field: Field<'n>) -> Result<Located<ContextPath>, Error> {
        if !matches!(field.node.content, Content::Map(_)) {
            return model_path(&field);
        }
        let python = self.python;
        let fields = field.fields(if python { python::MODEL_KEYS } else { MODEL_KEYS })?;
        if python {
            self.python_model(&fields)?;
        }
        model_path(&fields.need("source")?)
    }

    fn models(&mut self, field: Field<'n>) -> Result<Vec<(String, Located<ContextPath>)>, Error> {
        let mut models = Vec::new();
        for (key, entry) in field.entries()? {
            if let Err(fault) = ArtifactName::parse(key) {
                let problem = Problem::Name {
                    name: printable(key),
                    fault,
                    offer: ArtifactName::resembling(key).map(|name| name.to_string()),
                };
                return Err(Error::at(self.source, key.span, problem));
            }
            if key.contains('/') || models.len() == MODEL_LIMIT {
                let problem = match key.contains('/') {
                    true => Problem::ModelName(printable(key)),
                    false => Problem::TooMany {
                        key: field.name.clone(),
                        limit: MODEL_LIMIT,
                    },
                };
                return Err(Error::at(self.source, key.span, problem));
            }
            let path = match entry.node.content {
                Content::Map(_) => model_path(&entry.fields(MODEL_KEYS)?.need("source")?)?,
                _ => model_path(&entry)?,
            };
            models.push((key.to_string(), path));
        }
        Ok(models)
    }

    fn ports(&mut self, fields: &Fields<'n>, key: &str, kind: PortKind) -> Result<Vec<PortDeclaration>, Error> {
        let Some(field) = fields.get(key) else {
            return Ok(Vec::new());
        };
        let ports = read_ports(&field, kind)?;
        for port in &ports {
            let unused = [
                (
                    "required",
                    port.required == Some(false),
                    "every input of an ONNX model must be given",
                ),
                (
                    "max_length",
                    port.max_length.is_some(),
                    "`max_length` of the step `tokenize` bounds tokens",
                ),
            ];
            for (key, _, instead) in unused.iter().filter(|(_, used, _)| *used) {
                self.notices.push(Notice {
                    place: self.source.place(port.name.span),
                    key: format!("{}.{}.{key}", field.name, printable(port.name.as_str())),
                    reason: NoticeReason::NoCounterpart { instead },
                });
            }
        }
        Ok(ports)
    }

    fn files(&mut self, field: Field<'n>) -> Result<Vec<Located<Pattern>>, Error> {
        field
            .one_or_list()?
            .iter()
            .map(|item| {
                let text = item.text()?;
                match Pattern::parse(text) {
                    Ok(pattern) => Ok(item.located(pattern)),
                    Err(PatternFault::Path(fault)) => Err(item.path_error(text, fault)),
                    Err(PatternFault::Glob(reason)) => Err(item.error(Problem::Pattern {
                        pattern: printable(text),
                        reason,
                    })),
                }
            })
            .collect()
    }

    fn runtime(&mut self, field: Field<'n>) -> Result<Runtime, Error> {
        let known = match self.python {
            true => [RUNTIME_KEYS, python::RUNTIME_KEYS].concat(),
            false => RUNTIME_KEYS.to_vec(),
        };
        let fields = field.fields(&known)?;
        let mut runtime = Runtime {
            providers: match fields.get("provider") {
                Some(field) => field.one_or_list()?.iter().map(provider).collect::<Result<_, _>>()?,
                None => Vec::new(),
            },
            provider_options: match fields.get("provider_options") {
                Some(field) => provider_options(&field)?,
                None => Vec::new(),
            },
            threads: match fields.get("threads") {
                Some(field) => Some(field.located(field.integer(1, COUNT_LIMIT)?)),
                None => None,
            },
            timeout: match fields.get("timeout") {
                Some(field) => Some(field.located(field.duration()?)),
                None => None,
            },
            memory_bytes: match fields.get("memory") {
                Some(field) => Some(field.located(field.memory()?)),
                None => None,
            },
        };
        if self.python {
            self.python_runtime(&fields, &mut runtime)?;
        }
        Ok(runtime)
    }

    fn serving(&mut self, field: Field<'n>) -> Result<Serving, Error> {
        let fields = field.fields(SERVING_KEYS)?;
        let count = |field: Field<'_>| field.integer(1, COUNT_LIMIT);
        Ok(Serving {
            host: fields.get("host").map(|f| f.text().map(str::to_owned)).transpose()?,
            port: match fields.get("port") {
                Some(field) => u16::try_from(field.integer(1, u16::MAX.into())?).ok(),
                None => None,
            },
            max_batch_size: fields.either("max_batch_size", "batch_size")?.map(count).transpose()?,
            max_queue_delay: fields.get("max_queue_delay").map(|f| f.duration()).transpose()?,
            timeout: fields.get("timeout").map(|f| f.duration()).transpose()?,
            instances: fields.either("instances", "max_workers")?.map(count).transpose()?,
        })
    }

    fn metadata(&mut self, field: Field<'n>) -> Result<Vec<(String, Value)>, Error> {
        field
            .entries()?
            .into_iter()
            .map(|(key, entry)| Value::of(&entry).map(|value| (key.to_string(), value)))
            .collect()
    }
}

fn sorted(mut notices: Vec<Notice>) -> Vec<Notice> {
    notices.sort_by_key(|notice| (notice.place.line(), notice.place.column()));
    notices
}

/// Reads one text or a list of them.
fn texts(fields: &Fields<'_>, key: &str) -> Result<Vec<String>, Error> {
    match fields.get(key) {
        Some(field) => field
            .one_or_list()?
            .iter()
            .map(|item| item.text().map(str::to_owned))
            .collect(),
        None => Ok(Vec::new()),
    }
}

/// Reads the path of the ONNX file.
fn model_path(field: &Field<'_>) -> Result<Located<ContextPath>, Error> {
    let text = field.text()?;
    let hub = ["huggingface", "hf"].iter().any(|hub| {
        text.strip_prefix(hub)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    if hub || text.contains("://") {
        return Err(field.error(Problem::RemoteModel {
            location: printable(text),
        }));
    }
    field.path()
}

fn provider(item: &Field<'_>) -> Result<Located<String>, Error> {
    provider_named(item.text()?)
        .map(|name| item.located(name))
        .ok_or_else(|| {
            item.error(Problem::Provider {
                name: printable(item.raw()),
            })
        })
}

/// Gives the provider's own name; `None` for what is no provider.
fn provider_named(text: &str) -> Option<String> {
    match text {
        "rocm" => Some("migraphx".to_owned()),
        known if PROVIDERS.contains(&known) => Some(known.to_owned()),
        _ => None,
    }
}

fn provider_options(field: &Field<'_>) -> Result<Vec<ProviderOptions>, Error> {
    let mut providers = Vec::new();
    for (key, entry) in field.entries()? {
        let Some(name) = provider_named(key).filter(|name| name != "auto") else {
            let problem = Problem::Provider { name: printable(key) };
            return Err(Error::at(field.source, key.span, problem));
        };
        let mut options = Vec::new();
        for (option, value) in entry.entries()? {
            let text = match &value.node.content {
                Content::Bool(_) => value.raw(),
                _ => value.text_or_number()?,
            };
            options.push((option.to_string(), text.to_owned()));
        }
        providers.push(ProviderOptions {
            provider: Located::new(name, key.span),
            options,
        });
    }
    Ok(providers)
}

/// Makes a semantic version of `1`, `1.2`, `v1.2.3` or `1.2.3.4`-like text, where it is plain what is meant.
fn likely_version(text: &str) -> Option<semver::Version> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let dots = text.matches('.').count();
    let full = match dots {
        0 => format!("{text}.0.0"),
        1 => format!("{text}.0"),
        _ => text.to_owned(),
    };
    semver::Version::parse(&full).ok()
}
