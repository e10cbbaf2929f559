//! What a registry is asked without moving an artifact.

use super::{
    error::Error,
    pull::{Remote, fetch_documents},
};
use crate::oci::{Descriptor, Digest, Host, Reference, Tag};
use crate::registry::{Client, Credential, Options};

/// Lists the tags of a reference's repository.
pub fn tags(reference: &Reference, remote: &Remote) -> Result<Vec<Tag>, Error> {
    let client = remote.client(reference)?;
    let runtime = super::runtime()?;
    Ok(runtime.block_on(client.tags(reference.repository()))?)
}

/// Asks which digest a reference has at its registry now, without reading more than that where the registry lets.
pub fn digest(reference: &Reference, remote: &Remote) -> Result<Digest, Error> {
    match (reference.digest(), reference.tag()) {
        (None, Some(tag)) => {
            let client = remote.client(reference)?;
            let asked = client.tag_digest(reference.repository(), tag);
            Ok(super::runtime()?.block_on(asked)?)
        }
        (Some(digest), _) => Ok(*digest),
        (None, None) => Err(Error::Local {
            reference: Box::new(reference.clone()),
        }),
    }
}

/// Deletes what a reference names, and every other tag of the repository that names the same; gives its digest.
pub fn delete(reference: &Reference, remote: &Remote) -> Result<Digest, Error> {
    let client = remote.client(reference)?;
    super::runtime()?.block_on(async {
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => fetch_documents(&client, reference).await?.0[0].descriptor.digest,
        };
        client.delete_manifest(reference.repository(), &digest).await?;
        Ok(digest)
    })
}

/// Lists what says something about a reference's artifact: signatures, reports.
pub fn referrers(reference: &Reference, remote: &Remote) -> Result<Vec<Descriptor>, Error> {
    let client = remote.client(reference)?;
    super::runtime()?.block_on(async {
        let digest = match reference.digest() {
            Some(digest) => *digest,
            None => fetch_documents(&client, reference).await?.0[0].descriptor.digest,
        };
        Ok(client.referrers(reference.repository(), &digest).await?)
    })
}

/// Asks a registry whether a credential is good.
///
/// Errors: [`crate::registry::Error::Unauthorized`] when it is not.
pub fn check_credential(host: &Host, credential: &Credential, options: Options) -> Result<(), Error> {
    let client = Client::new(host, Some(credential.clone()), options)?;
    Ok(super::runtime()?.block_on(client.ping())?)
}
