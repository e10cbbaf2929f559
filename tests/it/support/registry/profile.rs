/// How a registry of some kind answers when nothing is broken.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Asks for a bearer token of the right scope, and sends the client to a token endpoint for it.
    pub tokens: bool,
    /// Asks for this user and password, at the token endpoint or as Basic.
    pub account: Option<(String, String)>,
    /// A token is refused after it has been used this often.
    pub token_uses: Option<u64>,
    /// Blobs are answered with a redirect to a second origin, as registries before object stores do.
    pub blob_redirect: bool,
    /// A PATCH with `Content-Range` and more bytes than this is answered with 416.
    pub largest_patch_bytes: Option<u64>,
    /// Only one PUT, no PATCH.
    pub no_patch: bool,
    /// PATCH is answered with 201 where the specification has 202.
    pub patch_created: bool,
    /// Mounts are answered as plain uploads.
    pub no_mount: bool,
    /// The referrers endpoint exists.
    pub referrers: bool,
    /// DELETE is answered with 405.
    pub no_delete: bool,
    /// Blobs are sent, and uploads read, no faster than this on one connection.
    pub bytes_per_second: Option<u64>,
    /// A body with more bytes than this is answered with 413.
    pub largest_body_bytes: Option<u64>,
    /// An upload is dropped, with its connection, when one request has brought so many bytes.
    pub drops_after_bytes: Option<u64>,
    /// An upload whose request broke is not found again, as docker-registry 2.8 has it.
    pub forgets_broken: bool,
    /// An upload that broke is said to have more bytes than came.
    pub overstates: bool,
    /// A request with a body brings one byte for its upload, and is answered with 503.
    pub creeps: bool,
    /// A mount is answered with this status.
    pub mount_status: Option<u16>,
    /// A header of every answer.
    pub software: Option<(&'static str, &'static str)>,
}

impl Profile {
    /// Keeps to the specification and asks nobody who they are.
    pub fn honest() -> Self {
        Self {
            referrers: true,
            ..Self::default()
        }
    }

    /// GitHub's registry: scoped tokens, no large PATCH, no referrers, blobs elsewhere.
    pub fn ghcr() -> Self {
        Self {
            tokens: true,
            account: Some(("octo".into(), "cat-secret".into())),
            blob_redirect: true,
            largest_patch_bytes: Some(4 << 20),
            ..Self::default()
        }
    }

    /// zot: an upload that takes too long is dropped, and its answers show whose they are.
    pub fn zot() -> Self {
        Self {
            referrers: true,
            drops_after_bytes: Some(40 << 20),
            software: Some((
                "Access-Control-Allow-Headers",
                "Authorization,content-type,X-ZOT-API-CLIENT",
            )),
            ..Self::default()
        }
    }

    /// Harbor: tokens of a service of its own; a mount from what may not be read is 401.
    pub fn harbor() -> Self {
        Self {
            tokens: true,
            referrers: true,
            mount_status: Some(401),
            software: Some(("WWW-Authenticate", "Bearer realm=\"/\",service=\"harbor-registry\"")),
            ..Self::default()
        }
    }

    /// Artifactory: mounts are refused.
    pub fn artifactory() -> Self {
        Self {
            referrers: true,
            mount_status: Some(405),
            software: Some(("X-JFrog-Version", "Artifactory/7.104.6")),
            ..Self::default()
        }
    }

    /// GitLab's: no referrers.
    pub fn gitlab() -> Self {
        Self {
            tokens: true,
            software: Some(("Gitlab-Container-Registry-Version", "4.0.0-gitlab")),
            ..Self::default()
        }
    }

    /// Amazon's: Basic alone, PATCH says 201, mounts refused here.
    pub fn ecr() -> Self {
        Self {
            account: Some(("AWS".into(), "ecr-secret".into())),
            patch_created: true,
            no_mount: true,
            referrers: true,
            ..Self::default()
        }
    }

    /// Google's: one PUT alone.
    pub fn google() -> Self {
        Self {
            tokens: true,
            no_patch: true,
            referrers: true,
            ..Self::default()
        }
    }
}
