use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::commands::{Code, Context, Failure, OrFail};
use crate::env;
use crate::gpuxfile;
use crate::serve::{Token, TokenRecord, WrongRecord, change_tokens, read_tokens};
use crate::term::{Align, Table};

use super::access::DEFAULT_FILE;

/// Make, list and revoke the tokens that callers of `gpux serve` show
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Create(CreateArgs),
    /// List the tokens: whose they are and what they may do; what they are is known to their holders alone
    List {
        /// The file of tokens; without it serve/tokens.json in gpux's folder
        #[arg(long, value_name = "FILE")]
        tokens: Option<PathBuf>,
    },
    /// Refuse tokens from now on; running servers do so within a second
    Revoke {
        /// What `list` calls them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// The file of tokens; without it serve/tokens.json in gpux's folder
        #[arg(long, value_name = "FILE")]
        tokens: Option<PathBuf>,
    },
}

/// Make a token and print it, this once; its hash alone is kept
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gpux serve token create --tenant acme
  gpux serve token create --tenant acme --models 'resnet*' --rate 50 --concurrency 8 --expires 90d
  gpux serve token create --tenant prometheus --metrics")]
struct CreateArgs {
    /// Whose token it is: tenants take turns, and see only their models
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// A pattern of models that it may call, such as 'resnet*'; may be repeated; without it all
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    models: Vec<String>,
    /// How many requests a second it may make, such as 50 or 0.5; more are answered 429
    #[arg(long, value_name = "N[/s]", value_parser = rate)]
    rate: Option<f64>,
    /// How many of its requests may be answered at once; more are answered 429
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// It may load and unload models, and read the metrics
    #[arg(long)]
    admin: bool,
    /// It may read the metrics, which tell of every model and tenant, and call nothing unless --models says so
    #[arg(long)]
    metrics: bool,
    /// For how long it is taken, such as 12h, 90d; without it until it is revoked
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// The file of tokens; without it serve/tokens.json in gpux's folder
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// Runs the act.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.act {
        Act::Create(args) => create(args, context),
        Act::List { tokens } => list(tokens, context),
        Act::Revoke { ids, tokens } => revoke(&ids, tokens, context),
    }
}

fn create(args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let file = file(args.tokens, context)?;
    let token = Token::draw().or_fail(|| "cannot make a token".into())?;
    let now = env::now();
    let expires = args.expires.map(|time| {
        let end = SignedDuration::try_from(time)
            .ok()
            .and_then(|time| now.checked_add(time).ok());
        end.ok_or_else(|| Failure::new(Code::Usage, "the token would expire after the end of time"))
    });
    let models = match (args.models.is_empty(), args.metrics && !args.admin) {
        (false, _) => args.models,
        (true, true) => Vec::new(),
        (true, false) => vec!["*".into()],
    };
    let record = TokenRecord {
        id: token.id().to_owned(),
        sha256: token.hash().to_string(),
        tenant: args.tenant,
        models,
        rate: args.rate,
        concurrency: args.concurrency,
        admin: args.admin,
        metrics: args.metrics,
        created: in_seconds(now),
        expires: expires.transpose()?.map(in_seconds),
    };
    record
        .check()
        .map_err(|wrong| Failure::new(Code::Usage, wrong.to_string()))?;
    let kept = record.clone();
    let added = change_tokens(&file, |tokens| {
        let is_new = tokens.iter().all(|other| other.id != kept.id);
        tokens.extend(is_new.then_some(kept));
        is_new
    });
    if !added.or_fail(|| "cannot keep the token".into())? {
        // One in four thousand millions, for each token that is there.
        return Err(Failure::new(Code::Failed, WrongRecord::Twice.to_string()).hint("try again"));
    }
    if context.term.json() {
        let mut document = shown(&record);
        document["token"] = json!(token.reveal());
        document["file"] = json!(file.display().to_string());
        return Ok(context.term.data(document)?);
    }
    context.term.data(token.reveal())?;
    context.term.tell(format_args!(
        "this is token {} of `{}`, shown only now; its hash is in `{}`",
        record.id,
        record.tenant,
        file.display()
    ));
    Ok(())
}

fn list(tokens: Option<PathBuf>, context: &Context) -> Result<(), Failure> {
    let file = file(tokens, context)?;
    let tokens = read_tokens(&file).or_fail(|| "cannot list the tokens".into())?;
    let tokens = tokens.unwrap_or_default();
    if context.term.json() {
        let each: Vec<Value> = tokens.iter().map(shown).collect();
        return Ok(context.term.data(Value::Array(each))?);
    }
    let left = |name| (name, Align::Left);
    let mut table = Table::new(&[
        left("ID"),
        left("TENANT"),
        left("MODELS"),
        ("RATE", Align::Right),
        ("AT ONCE", Align::Right),
        left("MAY ALSO"),
        left("EXPIRES"),
    ]);
    let now = env::now().to_string();
    for token in &tokens {
        let may = match (token.admin, token.metrics) {
            (true, _) => "control models, read metrics",
            (false, true) => "read metrics",
            (false, false) => "",
        };
        let expires = token.expires.as_deref().unwrap_or("never");
        let is_over = token.expires.as_ref().is_some_and(|end| is_before(end, &now));
        table.row([
            token.id.clone(),
            token.tenant.clone(),
            token.models.join(" "),
            token.rate.map_or_else(String::new, |rate| format!("{rate}/s")),
            token.concurrency.map_or_else(String::new, |most| most.to_string()),
            may.to_owned(),
            format!("{expires}{}", if is_over { " (over)" } else { "" }),
        ]);
    }
    if table.is_empty() {
        context
            .term
            .tell(format_args!("there are no tokens in `{}`", file.display()));
        return Ok(());
    }
    Ok(context.term.data(table)?)
}

fn revoke(ids: &[String], tokens: Option<PathBuf>, context: &Context) -> Result<(), Failure> {
    let file = file(tokens, context)?;
    let unknown = change_tokens(&file, |tokens| {
        let unknown = ids.iter().find(|id| tokens.iter().all(|token| token.id != **id));
        if unknown.is_none() {
            tokens.retain(|token| !ids.contains(&token.id));
        }
        unknown
    });
    if let Some(id) = unknown.or_fail(|| "cannot revoke".into())? {
        return Err(Failure::new(
            Code::NotFound,
            format!(
                "there is no token `{}` in `{}`, and none was revoked",
                id.escape_debug(),
                file.display()
            ),
        )
        .hint("`gpux serve token list` tells what there is"));
    }
    if context.term.json() {
        return Ok(context.term.data(json!({"revoked": ids}))?);
    }
    context.term.tell(format_args!("revoked {}", ids.join(", ")));
    Ok(())
}

fn file(given: Option<PathBuf>, context: &Context) -> Result<PathBuf, Failure> {
    match given {
        Some(file) => Ok(file),
        None => Ok(context.home()?.join(DEFAULT_FILE)),
    }
}

/// Gives what is told of a token, which its hash is not.
fn shown(token: &TokenRecord) -> Value {
    json!({
        "id": token.id,
        "tenant": token.tenant,
        "models": token.models,
        "rate": token.rate,
        "concurrency": token.concurrency,
        "admin": token.admin,
        "metrics": token.metrics,
        "created": token.created,
        "expires": token.expires,
    })
}

/// Writes a time without what is below a second.
fn in_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

fn is_before(one: &str, other: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    time(one).zip(time(other)).is_some_and(|(one, other)| one <= other)
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number
        .parse::<f64>()
        .ok()
        .filter(|rate| *rate > 0.0 && rate.is_finite());
    rate.ok_or_else(|| format!("`{text}` is not a number of requests a second, such as 50 or 0.5/s"))
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let time = match days {
        Some(days) if days > 0 => Some(Duration::from_secs(u64::from(days) * 86_400)),
        _ => gpuxfile::duration(text),
    };
    time.ok_or_else(|| format!("`{text}` is not a time such as 12h or 90d"))
}
