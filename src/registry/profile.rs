//! What is known of registries that differ from the specification.
//!
//! A registry is looked for in the table by its host. Where the host says nothing, because everybody may run that software,
//! its answers may give it away. What its answers then show overrules the table, and is kept: see `memory`.

use reqwest::header::HeaderMap;

/// How blobs are uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// One POST for the session and one PUT with all bytes.
    Whole,
    /// PATCH requests of at most this many bytes, then an empty PUT.
    Chunks(u64),
}

/// The habits of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, for messages.
    pub name: &'static str,
    /// How blobs go up.
    pub upload: Upload,
    /// The largest blob it takes. Units: bytes.
    pub largest_blob_bytes: Option<u64>,
    /// The largest body of one request that it, or what stands before it, takes. Units: bytes.
    pub largest_body_bytes: Option<u64>,
    /// The largest PATCH it takes; 0 where an upload is one PUT and nothing else. Units: bytes.
    pub largest_chunk_bytes: Option<u64>,
    /// It mounts blobs from other repositories.
    pub mounts: bool,
    /// It answers ranges without having said so; where false, `Accept-Ranges` is asked for first.
    pub ranges: bool,
    /// It has the referrers endpoint; where false the tag fallback is used at once.
    pub referrers: bool,
    /// An interrupted upload can be continued.
    pub resumes: bool,
}

/// The specification, and the distribution project's own registry, which follows it.
const STANDARD: Profile = Profile {
    name: "registry",
    upload: Upload::Whole,
    largest_blob_bytes: None,
    largest_body_bytes: None,
    largest_chunk_bytes: None,
    mounts: true,
    ranges: true,
    referrers: true,
    resumes: true,
};

/// What zot is sent at once: at 1 MB/s it arrives within the 60 s after which an upload is dropped.
const ZOT_CHUNK_BYTES: u64 = 32 << 20;

/// A registry, and how it is told.
struct Row {
    profile: Profile,
    /// Host names; those that begin with a dot are endings.
    hosts: &'static [&'static str],
    /// Headers, and a part of their value in lower case, that no other registry sends.
    signs: &'static [(&'static str, &'static str)],
}

const TABLE: &[Row] = &[
    Row {
        profile: Profile {
            name: "GitHub",
            largest_blob_bytes: Some(10 << 30),
            // A larger PATCH with Content-Range is refused, and a session ends after ten minutes.
            largest_chunk_bytes: Some(4 << 20),
            referrers: false,
            resumes: false,
            ..STANDARD
        },
        hosts: &["ghcr.io"],
        signs: &[],
    },
    Row {
        profile: Profile {
            name: "Docker Hub",
            ..STANDARD
        },
        hosts: &["registry-1.docker.io"],
        signs: &[],
    },
    Row {
        // PATCH is answered with 201, and what no manifest names is not mounted but opened: both are understood anywhere.
        profile: Profile {
            name: "Amazon ECR",
            ..STANDARD
        },
        hosts: &[".amazonaws.com", "public.ecr.aws"],
        signs: &[],
    },
    Row {
        profile: Profile {
            name: "Google Artifact Registry",
            largest_chunk_bytes: Some(0),
            resumes: false,
            ..STANDARD
        },
        hosts: &[".pkg.dev", "gcr.io", ".gcr.io"],
        signs: &[],
    },
    Row {
        // A mount from a repository that is missing is answered with 401: an upload is opened then.
        profile: Profile {
            name: "Harbor",
            ..STANDARD
        },
        hosts: &["demo.goharbor.io"],
        signs: &[("www-authenticate", "service=\"harbor-registry\"")],
    },
    Row {
        profile: Profile {
            name: "Artifactory",
            mounts: false,
            ranges: false,
            ..STANDARD
        },
        hosts: &[".jfrog.io"],
        signs: &[("x-jfrog-version", ""), ("x-artifactory-id", "")],
    },
    Row {
        profile: Profile {
            name: "Quay",
            ..STANDARD
        },
        hosts: &["quay.io"],
        signs: &[],
    },
    Row {
        profile: Profile {
            name: "GitLab",
            referrers: false,
            ..STANDARD
        },
        hosts: &["registry.gitlab.com"],
        signs: &[("gitlab-container-registry-version", "")],
    },
    Row {
        profile: Profile {
            name: "zot",
            upload: Upload::Chunks(ZOT_CHUNK_BYTES),
            ..STANDARD
        },
        hosts: &["zothub.io"],
        signs: &[("access-control-allow-headers", "x-zot-api-client")],
    },
];

impl Profile {
    /// Finds the profile of a host; a host that is not in the table is held to the specification.
    pub fn of(host: &str) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let fits = |known: &&str| match known.strip_prefix('.') {
            Some(_) => name.ends_with(known),
            None => name == *known,
        };
        let row = TABLE.iter().find(|row| row.hosts.iter().any(fits));
        row.map_or(STANDARD, |row| row.profile)
    }

    /// Finds the profile of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let row = TABLE.iter().find(|row| row.profile.name == name)?;
        Some(row.profile)
    }

    /// Tells from an answer whose software gave it; `None` where it does not show.
    pub(super) fn recognised(headers: &HeaderMap) -> Option<Self> {
        let shows = |(name, part): &(&str, &str)| {
            let mut values = headers.get_all(*name).iter();
            values.any(|value| part.is_empty() || value.to_str().is_ok_and(|text| text.to_lowercase().contains(part)))
        };
        let row = TABLE.iter().find(|row| row.signs.iter().any(shows))?;
        Some(row.profile)
    }

    /// Tells whether the table knows more of this registry than the specification says.
    pub(super) fn is_known(&self) -> bool {
        self.name != STANDARD.name
    }

    /// Decides how `left_bytes` of a blob go up.
    pub fn upload_of(&self, left_bytes: u64) -> Upload {
        let chunk = match (self.upload, self.largest_body_bytes) {
            (Upload::Chunks(bytes), limit) => bytes.min(limit.unwrap_or(bytes)),
            (Upload::Whole, Some(limit)) if left_bytes > limit => limit,
            (Upload::Whole, _) => return Upload::Whole,
        };
        match self.chunk_of(chunk) {
            Some(bytes) => Upload::Chunks(bytes),
            None => Upload::Whole,
        }
    }

    /// Bounds a chunk by what the registry takes; `None` where it takes none.
    pub fn chunk_of(&self, wanted_bytes: u64) -> Option<u64> {
        let bytes = wanted_bytes.min(self.largest_chunk_bytes.unwrap_or(u64::MAX));
        (bytes > 0).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_find_their_profile_by_whole_labels() {
        for (host, name) in [
            ("ghcr.io", "GitHub"),
            ("registry-1.docker.io", "Docker Hub"),
            ("gcr.io", "Google Artifact Registry"),
            ("eu.gcr.io", "Google Artifact Registry"),
            ("europe-docker.pkg.dev", "Google Artifact Registry"),
            ("1.dkr.ecr.eu-west-1.amazonaws.com", "Amazon ECR"),
            ("demo.goharbor.io", "Harbor"),
            ("team.jfrog.io", "Artifactory"),
            ("quay.io", "Quay"),
            ("registry.gitlab.com", "GitLab"),
            ("zothub.io", "zot"),
            ("notghcr.io", "registry"),
            ("ghcr.io.example.com", "registry"),
            ("127.0.0.1:5000", "registry"),
        ] {
            assert_eq!(Profile::of(host).name, name, "{host}");
        }
    }

    #[test]
    fn software_is_told_by_what_it_answers() {
        let told = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            Profile::recognised(&headers).map(|profile| profile.name)
        };
        let challenge = "Bearer realm=\"https://h.example/service/token\",service=\"harbor-registry\"";
        assert_eq!(told("www-authenticate", challenge), Some("Harbor"));
        assert_eq!(told("x-jfrog-version", "Artifactory/7.1"), Some("Artifactory"));
        assert_eq!(told("gitlab-container-registry-version", "4.0"), Some("GitLab"));
        let allowed = "Authorization,content-type,X-ZOT-API-CLIENT";
        assert_eq!(told("access-control-allow-headers", allowed), Some("zot"));
        assert_eq!(told("docker-distribution-api-version", "registry/2.0"), None);
    }

    #[test]
    fn a_blob_goes_up_whole_unless_the_profile_says_otherwise() {
        let google = Profile::of("x.pkg.dev");
        assert_eq!(STANDARD.upload_of(u64::MAX), Upload::Whole);
        assert_eq!(Profile::of("zothub.io").upload_of(5), Upload::Chunks(ZOT_CHUNK_BYTES));
        let limited = Profile {
            largest_body_bytes: Some(1 << 20),
            ..STANDARD
        };
        assert_eq!(limited.upload_of(1 << 20), Upload::Whole);
        assert_eq!(limited.upload_of((1 << 20) + 1), Upload::Chunks(1 << 20));
        let both = Profile {
            largest_body_bytes: Some(1 << 20),
            ..google
        };
        assert_eq!(both.upload_of(1 << 30), Upload::Whole);
        assert_eq!(Profile::of("ghcr.io").chunk_of(64 << 20), Some(4 << 20));
    }
}
