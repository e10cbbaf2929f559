//! One registry: how a request is sent, authorized, redirected and tried again.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time};
use url::Url;

use super::{
    auth::{Challenge, Credential, Grants, read_token},
    endpoint::{Endpoint, PinnedResolver, SharedResolver, check_realm, shown},
    error::{Error, is_transient_status, quote},
    memory::{Lesson, Memory},
    profile::Profile,
    retry::{Retries, retry_after},
};
use crate::oci;

/// No error body, and no token answer, is read beyond this.
const SMALL_BODY_BYTES: u64 = 256 << 10;
/// Redirects followed for one request.
const MOST_REDIRECTS: u32 = 5;
/// Refused requests that are answered with a new token before the refusal counts.
const MOST_REFRESHES: u32 = 2;

/// How to reach registries. The caller reads environment and files; nothing here does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speaks http where https is the rule.
    pub plain_http: bool,
    /// Takes any certificate.
    pub skip_verify: bool,
    /// Certificates trusted besides the system's. Shape: PEM, one or more certificates each.
    pub authorities: Vec<Vec<u8>>,
    /// Certificate and key shown to registries that ask. Shape: PEM of both.
    pub identity: Option<Vec<u8>>,
    /// Proxies, and hosts reached without one.
    pub proxies: Proxies,
    /// Bounds on trying again.
    pub retries: Retries,
    /// A connection is given up when it takes longer than this to open.
    pub connect_timeout: Duration,
    /// A transfer is given up when it brings next to nothing for so long.
    pub stall_timeout: Duration,
    /// Reads the clock, against which a `Retry-After` that is a date is held; without it, such dates do not count.
    pub clock: Option<fn() -> jiff::Timestamp>,
    /// The folder in which what registries have shown of themselves is kept; without it nothing is.
    pub memory: Option<PathBuf>,
    /// Who we say we are.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: false,
            skip_verify: false,
            authorities: Vec::new(),
            identity: None,
            proxies: Proxies::default(),
            retries: Retries::default(),
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            clock: None,
            memory: None,
            user_agent: concat!("gpux/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Proxies as HTTP_PROXY, HTTPS_PROXY and NO_PROXY name them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For http addresses.
    pub http: Option<String>,
    /// For https addresses.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, with commas between.
    pub none: Option<String>,
}

/// A registry. Clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    http: reqwest::Client,
    resolver: Arc<PinnedResolver>,
    credential: Option<Credential>,
    grants: Mutex<Grants>,
    memory: std::sync::Mutex<Memory>,
    options: Options,
    requests: AtomicU64,
}

impl Inner {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A lesson is taken whole or not.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.memory().keep();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.inner.endpoint.base)
    }
}

/// What is sent as a body.
pub(super) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Makes the body anew for each try.
    Stream(Box<dyn Fn() -> reqwest::Body + Send + Sync>),
}

/// A request before it is authorized.
pub(super) struct Call {
    /// What is tried, as a verb for messages.
    pub act: &'static str,
    pub method: Method,
    pub url: Url,
    pub scope: String,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// Tries in all; uploads have one, since their caller resumes them.
    pub attempts: u32,
    /// Counts bytes that went out: while it moves, a missing answer is no stall.
    pub sent: Option<Arc<AtomicU64>>,
}

impl Client {
    /// Prepares a client for one registry. No connection is made.
    ///
    /// Plain http is spoken to this machine, unless certificates are given or waived, and where the options say so.
    ///
    /// Errors: [`Error::Host`]; [`Error::Setup`] for certificates, keys and proxies that cannot be used.
    pub fn new(host: &oci::Host, credential: Option<Credential>, options: Options) -> Result<Self, Error> {
        let tls_wanted = options.skip_verify || !options.authorities.is_empty() || options.identity.is_some();
        let plain = options.plain_http || (Endpoint::is_loopback(host) && !tls_wanted);
        let endpoint = Endpoint::new(host, plain)?;
        let resolver = Arc::new(PinnedResolver::default());
        let http = connector(&options, &resolver)?;
        let table = Profile::of(endpoint.base.host_str().unwrap_or_default());
        let now = options.clock.map(|clock| clock().as_second());
        let memory = Memory::recall(options.memory.as_deref(), host.as_str(), (table, now));
        Ok(Self {
            inner: Arc::new(Inner {
                endpoint,
                http,
                resolver,
                credential,
                grants: Mutex::default(),
                memory: memory.into(),
                options,
                requests: AtomicU64::new(0),
            }),
        })
    }

    /// The host as references name it.
    pub fn host(&self) -> &oci::Host {
        &self.inner.endpoint.host
    }

    /// What is known of this registry by now.
    pub fn profile(&self) -> Profile {
        self.inner.memory().profile()
    }

    /// Takes what an answer showed into the profile; it is kept when the last clone of the client goes.
    pub fn learn(&self, lesson: Lesson) {
        self.inner.memory().learn(lesson);
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Requests sent so far, redirects and tokens included.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// Makes the address of a path under `/v2/`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.inner.endpoint.base.clone();
        url.set_path(&format!("v2/{path}"));
        url
    }

    pub(super) fn call(&self, act: &'static str, method: Method, url: Url, scope: String) -> Call {
        Call {
            act,
            method,
            url,
            scope,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            attempts: self.inner.options.retries.attempts,
            sent: None,
        }
    }

    /// Sends a request until it has an answer that no further try can better: its tokens fetched, its redirects followed,
    /// its transient failures tried again.
    ///
    /// Errors: [`Error::Transport`], [`Error::Stalled`], [`Error::Unauthorized`], [`Error::Redirect`] and those of the
    /// token exchange. A status is an error only if it is transient and stays so.
    pub(super) async fn send(&self, call: &Call) -> Result<reqwest::Response, Error> {
        let mut attempt = 1;
        loop {
            let result = self.send_authorized(call).await;
            let asked = match &result {
                Ok(response) if is_transient_status(response.status().as_u16()) => self.asked_wait(response),
                Ok(_) => return result,
                Err(error) if error.is_transient() => None,
                Err(_) => return result,
            };
            // Nobody listens there, or no name leads there: that seldom changes within seconds.
            let unreachable = matches!(&result, Err(Error::Transport { source, .. }) if source.is_connect());
            let attempts = if unreachable {
                call.attempts.min(3)
            } else {
                call.attempts
            };
            if attempt >= attempts {
                return match result {
                    Ok(response) => Err(self.status_error(call.act, response).await),
                    Err(error) => Err(error),
                };
            }
            time::sleep(self.inner.options.retries.wait(attempt, asked)).await;
            attempt += 1;
        }
    }

    /// How long the registry asks to be left alone.
    fn asked_wait(&self, response: &reqwest::Response) -> Option<Duration> {
        let now = self.inner.options.clock.map(|clock| clock());
        retry_after(header_text(response, RETRY_AFTER)?, now)
    }

    /// One try: the request itself, and again with a new token while the registry asks for one.
    async fn send_authorized(&self, call: &Call) -> Result<reqwest::Response, Error> {
        for _ in 0..=MOST_REFRESHES {
            let (header, serial) = self.authorization(&call.scope).await?;
            let response = self.send_following(call, header.as_ref()).await?;
            let own = self.inner.endpoint.is_own(response.url());
            if response.status() != StatusCode::UNAUTHORIZED || !own {
                return Ok(response);
            }
            let challenge = Challenge::read(response.headers()).ok_or_else(|| Error::Challenge {
                host: self.host().as_str().to_owned(),
            })?;
            drop(response);
            self.renew(&call.scope, challenge, serial).await?;
        }
        Err(self.unauthorized(&call.scope))
    }

    fn unauthorized(&self, scope: &str) -> Error {
        Error::Unauthorized {
            host: self.host().as_str().to_owned(),
            what: match scope.split(':').nth(1) {
                Some(repository) => format!("`{repository}`"),
                None => "it".to_owned(),
            },
            anonymous: self.inner.credential.is_none(),
        }
    }

    /// The header held for a scope, fetched anew if it has run out, and its number.
    async fn authorization(&self, scope: &str) -> Result<(Option<HeaderValue>, u64), Error> {
        let grant = self.inner.grants.lock().await.held.get(scope).cloned();
        let Some(grant) = grant else {
            return Ok((None, 0));
        };
        if grant.expires.is_none_or(|expires| Instant::now() < expires) {
            return Ok((Some(grant.header), grant.serial));
        }
        self.renew(scope, grant.challenge, grant.serial).await?;
        let grants = self.inner.grants.lock().await;
        let grant = grants.held.get(scope);
        Ok((
            grant.map(|grant| grant.header.clone()),
            grant.map_or(0, |grant| grant.serial),
        ))
    }

    /// Answers a challenge, unless another request did so since `refused` was handed out.
    async fn renew(&self, scope: &str, challenge: Challenge, refused: u64) -> Result<(), Error> {
        let mut grants = self.inner.grants.lock().await;
        if grants.held.get(scope).is_some_and(|grant| grant.serial > refused) {
            return Ok(());
        }
        let (header, expires) = match &challenge {
            Challenge::Basic => {
                let basic = self.inner.credential.as_ref().and_then(Credential::basic);
                if refused > 0 {
                    return Err(self.unauthorized(scope));
                }
                (basic.ok_or_else(|| self.unauthorized(scope))?, None)
            }
            Challenge::Bearer {
                realm,
                service,
                scope: asked,
            } => {
                let asked = asked.as_deref().filter(|asked| !asked.is_empty()).unwrap_or(scope);
                let wanted = if scope.contains(' ') { scope } else { asked };
                self.fetch_token(realm, service.as_deref(), wanted).await?
            }
        };
        grants.insert(scope, header, (challenge, expires));
        Ok(())
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<(HeaderValue, Option<Instant>), Error> {
        let host = self.host().as_str().to_owned();
        let url = check_realm(&self.inner.endpoint, realm, &self.inner.resolver).await?;
        let (call, authorization) = self.token_call(url, service, scope);
        let response = self.send_to_realm(&call, authorization.as_ref()).await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::Realm {
                host,
                realm: quote(realm),
                why: "it redirects",
            });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.unauthorized(scope));
        }
        if !status.is_success() {
            return Err(self.status_error(call.act, response).await);
        }
        let body = self.read_body(response, "the token", SMALL_BODY_BYTES).await?;
        read_token(&host, &body)
    }

    /// Makes the request for a token, and the header that goes with it.
    fn token_call(&self, mut url: Url, service: Option<&str>, scope: &str) -> (Call, Option<HeaderValue>) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        if let Some(service) = service {
            form.append_pair("service", service);
        }
        for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
            form.append_pair("scope", scope);
        }
        let act = "get a token from";
        match &self.inner.credential {
            Some(Credential::IdentityToken(token)) => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", "gpux");
                form.append_pair("refresh_token", token);
                let mut call = self.call(act, Method::POST, url, String::new());
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                call.headers.insert(CONTENT_TYPE, form_type);
                call.payload = Payload::Bytes(form.finish().into());
                (call, None)
            }
            credential => {
                if let Some(Credential::Password { username, .. }) = credential {
                    form.append_pair("account", username);
                }
                let query = match url.query() {
                    Some(query) => format!("{query}&{}", form.finish()),
                    None => form.finish(),
                };
                url.set_query(Some(&query));
                let authorization = credential.as_ref().and_then(Credential::basic);
                (self.call(act, Method::GET, url, String::new()), authorization)
            }
        }
    }

    /// Asks for a token, with the same patience as for anything else.
    async fn send_to_realm(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<reqwest::Response, Error> {
        let mut attempt = 1;
        loop {
            let result = self.send_once(call, &call.url, authorization).await;
            let transient = match &result {
                Ok(response) => is_transient_status(response.status().as_u16()),
                Err(error) => error.is_transient(),
            };
            if !transient || attempt >= call.attempts {
                return result;
            }
            let asked = result.ok().and_then(|response| self.asked_wait(&response));
            time::sleep(self.inner.options.retries.wait(attempt, asked)).await;
            attempt += 1;
        }
    }

    /// Follows redirects, leaving the credentials behind where they lead to another origin.
    async fn send_following(&self, call: &Call, header: Option<&HeaderValue>) -> Result<reqwest::Response, Error> {
        let mut url = call.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let own = self.inner.endpoint.is_own(&url);
            let response = self.send_once(call, &url, header.filter(|_| own)).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let refuse = |why| Error::Redirect {
                address: shown(&url),
                why,
            };
            let next = header_text(&response, LOCATION)
                .and_then(|text| url.join(text).ok())
                .ok_or_else(|| refuse("it does not say where to"))?;
            if next.scheme() != "https" && (url.scheme() == "https" || next.scheme() != "http") {
                return Err(refuse("it leads from https to something weaker"));
            }
            let reads = matches!(call.method, Method::GET | Method::HEAD);
            if !reads && next.origin() != url.origin() {
                return Err(refuse("it takes an upload to another origin"));
            }
            url = next;
        }
        Err(Error::Redirect {
            address: shown(&url),
            why: "it goes on without end",
        })
    }

    async fn send_once(
        &self,
        call: &Call,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<reqwest::Response, Error> {
        let mut request = self
            .inner
            .http
            .request(call.method.clone(), url.clone())
            .headers(call.headers.clone());
        if let Some(header) = authorization {
            request = request.header(AUTHORIZATION, header.clone());
        }
        request = match &call.payload {
            Payload::Empty if matches!(call.method, Method::GET | Method::HEAD | Method::DELETE) => request,
            // Said twice it is an error to proxies.
            Payload::Empty if call.headers.contains_key(CONTENT_LENGTH) => request,
            Payload::Empty => request.header(CONTENT_LENGTH, 0),
            Payload::Bytes(bytes) => request.body(bytes.clone()),
            Payload::Stream(make) => request.body(make()),
        };
        self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let mut answer = std::pin::pin!(request.send());
        let patience = self.inner.options.stall_timeout;
        loop {
            let before = call.sent.as_ref().map(|sent| sent.load(Ordering::Relaxed));
            match time::timeout(patience, &mut answer).await {
                Ok(result) => {
                    let response = result.map_err(|source| transport(call.act, url, source))?;
                    self.recognise(&response);
                    return Ok(response);
                }
                Err(_) if before != call.sent.as_ref().map(|sent| sent.load(Ordering::Relaxed)) => {}
                Err(_) => {
                    return Err(Error::Stalled {
                        address: shown(url),
                        after: patience,
                    });
                }
            }
        }
    }

    /// Looks at whose software answers, where the host's name does not say.
    fn recognise(&self, response: &reqwest::Response) {
        let unknown = self.inner.endpoint.is_own(response.url()) && !self.profile().is_known();
        if let Some(found) = Profile::recognised(response.headers()).filter(|_| unknown) {
            self.learn(Lesson::Software(found.name));
        }
    }

    /// Reads a small body whole.
    ///
    /// Errors: [`Error::TooLarge`] beyond `limit_bytes`, before it is held; [`Error::Transport`]; [`Error::Stalled`] when
    /// it takes longer than four stall time-outs in all.
    pub(super) async fn read_body(
        &self,
        mut response: reqwest::Response,
        what: &'static str,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, Error> {
        let url = response.url().clone();
        let too_large = || Error::TooLarge {
            what,
            host: self.host().as_str().to_owned(),
            limit_bytes,
        };
        if response.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(too_large());
        }
        let patience = self.inner.options.stall_timeout;
        let started = Instant::now();
        let mut body = Vec::new();
        loop {
            let left = (patience * 4).saturating_sub(started.elapsed()).min(patience);
            let chunk = time::timeout(left, response.chunk())
                .await
                .map_err(|_| Error::Stalled {
                    address: shown(&url),
                    after: patience,
                })?;
            let Some(chunk) = chunk.map_err(|source| transport("read", &url, source))? else {
                return Ok(body);
            };
            if (body.len() + chunk.len()) as u64 > limit_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Turns an answer that means failure into an error, with the registry's own words where it has some.
    pub(super) async fn status_error(&self, act: &'static str, response: reqwest::Response) -> Error {
        #[derive(Deserialize)]
        struct Answer {
            errors: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            code: Option<String>,
            message: Option<String>,
        }
        let status = response.status().as_u16();
        let address = shown(response.url());
        let retry_after = self.asked_wait(&response);
        let body = self
            .read_body(response, "the error", SMALL_BODY_BYTES)
            .await
            .unwrap_or_default();
        let entry = serde_json::from_slice::<Answer>(&body)
            .ok()
            .and_then(|answer| answer.errors.into_iter().next());
        let (code, message) = entry.map_or((None, None), |entry| (entry.code, entry.message));
        Error::Status {
            act,
            address,
            status,
            code: code.map(|text| quote(&text)),
            message: message.map(|text| quote(&text)),
            retry_after,
        }
    }
}

pub(super) fn header_text(response: &reqwest::Response, name: reqwest::header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

pub(super) fn transport(act: &'static str, url: &Url, source: reqwest::Error) -> Error {
    Error::Transport {
        act,
        address: shown(url),
        source: source.without_url(),
    }
}

fn connector(options: &Options, resolver: &Arc<PinnedResolver>) -> Result<reqwest::Client, Error> {
    let setup = |what| move |source| Error::Setup { what, source };
    // A second call finds the provider installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(SharedResolver(Arc::clone(resolver))))
        .tls_danger_accept_invalid_certs(options.skip_verify)
        .no_proxy();
    for pem in &options.authorities {
        let found = reqwest::Certificate::from_pem_bundle(pem).map_err(setup("an authority's certificate"))?;
        if found.is_empty() {
            return Err(Error::NoCertificate);
        }
        builder = builder.tls_certs_merge(found);
    }
    if let Some(pem) = &options.identity {
        let identity = reqwest::Identity::from_pem(pem).map_err(setup("the client certificate"))?;
        builder = builder.identity(identity);
    }
    let listed = options.proxies.none.as_deref().unwrap_or_default();
    let none = reqwest::NoProxy::from_string(listed);
    // A star is everything, addresses too.
    let proxied = !listed.split(',').any(|host| host.trim() == "*");
    if let Some(address) = options.proxies.http.as_ref().filter(|_| proxied) {
        let proxy = reqwest::Proxy::http(address).map_err(setup("the proxy for http"))?;
        builder = builder.proxy(proxy.no_proxy(none.clone()));
    }
    if let Some(address) = options.proxies.https.as_ref().filter(|_| proxied) {
        let proxy = reqwest::Proxy::https(address).map_err(setup("the proxy for https"))?;
        builder = builder.proxy(proxy.no_proxy(none));
    }
    builder.build().map_err(setup(match &options.identity {
        // Whether certificate and key belong together shows here.
        Some(_) => "the client certificate and its key",
        None => "the HTTP client",
    }))
}
