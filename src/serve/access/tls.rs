//! TLS of the server, and of clients that must show a certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::fs;

/// Names the files of TLS, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The authorities of which every client must show a certificate; `None` where clients show none.
    pub client_authority: Option<PathBuf>,
}

/// Says why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    System(#[from] fs::Error),
    /// A file is not in PEM form.
    #[error("`{}` is not in PEM form", .path.display())]
    Pem { path: PathBuf, source: PemError },
    /// A file has no certificate.
    #[error("`{}` has no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// A file has no key.
    #[error("`{}` has no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// The certificate and the key are broken, or not of each other.
    #[error("the certificate `{}` and the key `{}` do not go together", .certificate.display(), .key.display())]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    /// An authority's certificate is broken.
    #[error("`{}` holds a certificate that is none of an authority", .path.display())]
    Authority { path: PathBuf, source: rustls::Error },
    /// There is no authority for clients.
    #[error("`{}` names no authority for clients", .path.display())]
    Authorities {
        path: PathBuf,
        source: VerifierBuilderError,
    },
}

/// Holds the files' content, as it was when they last made sense.
#[derive(Debug)]
pub(in crate::serve) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// Errors: [`TlsError`].
    pub fn open(files: &TlsFiles) -> Result<Tls, TlsError> {
        Ok(Tls {
            config: RwLock::new(Arc::new(config(files)?)),
            files: files.clone(),
        })
    }

    /// Reads the files again; connections that come from now on are held to them.
    ///
    /// Errors: [`TlsError`]; what was read before stays.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(config(&self.files)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Gives the files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let files = &self.files;
        [&files.certificate, &files.key]
            .into_iter()
            .chain(&files.client_authority)
    }

    /// Gives what shakes hands with the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let pair = |source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                let added = roots.add(authority);
                added.map_err(|source| TlsError::Authority {
                    path: path.clone(),
                    source,
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|source| TlsError::Authorities {
                path: path.clone(),
                source,
            })?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = fs::read(path)?;
    let each = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = each.map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })?;
    match found.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(found),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&fs::read(path)?).map_err(|source| match source {
        PemError::NoItemsFound => TlsError::NoKey(path.to_owned()),
        source => TlsError::Pem {
            path: path.to_owned(),
            source,
        },
    })
}
