//! What is known of registries that differ from the specification. What a registry answers overrules the table.

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
    /// It mounts blobs from other repositories.
    pub mounts: bool,
    /// It answers ranges without having said so; where false, `Accept-Ranges` is asked for first.
    pub ranges: bool,
    /// It has the referrers endpoint; where false the tag fallback is used at once.
    pub referrers: bool,
    /// An interrupted upload can be continued.
    pub resumes: bool,
}

const STANDARD: Profile = Profile {
    name: "registry",
    upload: Upload::Whole,
    largest_blob_bytes: None,
    mounts: true,
    ranges: true,
    referrers: true,
    resumes: true,
};

/// Host name endings and their profile; the first that fits counts.
const TABLE: &[(&str, Profile)] = &[
    (
        "ghcr.io",
        Profile {
            name: "GitHub",
            largest_blob_bytes: Some(10 << 30),
            referrers: false,
            // A PATCH with Content-Range over 4 MiB is refused, and a session ends after ten minutes.
            resumes: false,
            ..STANDARD
        },
    ),
    (
        "registry-1.docker.io",
        Profile {
            name: "Docker Hub",
            ..STANDARD
        },
    ),
    (
        ".amazonaws.com",
        Profile {
            name: "Amazon ECR",
            ..STANDARD
        },
    ),
    (
        ".pkg.dev",
        Profile {
            name: "Google Artifact Registry",
            resumes: false,
            ..STANDARD
        },
    ),
    (
        "gcr.io",
        Profile {
            name: "Google",
            resumes: false,
            ..STANDARD
        },
    ),
    (
        ".jfrog.io",
        Profile {
            name: "Artifactory",
            mounts: false,
            ranges: false,
            ..STANDARD
        },
    ),
    (
        "registry.gitlab.com",
        Profile {
            name: "GitLab",
            referrers: false,
            ..STANDARD
        },
    ),
    (
        "quay.io",
        Profile {
            name: "Quay",
            ..STANDARD
        },
    ),
];

impl Profile {
    /// Finds the profile of a host; a host that is not in the table is held to the specification.
    pub fn of(host: &str) -> Self {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let fits = |ending: &str| {
            name == ending
                || (ending.starts_with('.') && name.ends_with(ending))
                || name.strip_suffix(ending).is_some_and(|rest| rest.ends_with('.'))
        };
        TABLE
            .iter()
            .find(|(ending, _)| fits(ending))
            .map_or(STANDARD, |(_, profile)| *profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_find_their_profile_by_whole_labels() {
        assert_eq!(Profile::of("ghcr.io").name, "GitHub");
        assert_eq!(Profile::of("eu.gcr.io").name, "Google");
        assert_eq!(Profile::of("europe-docker.pkg.dev").name, "Google Artifact Registry");
        assert_eq!(Profile::of("1.dkr.ecr.eu-west-1.amazonaws.com").name, "Amazon ECR");
        assert_eq!(Profile::of("notghcr.io").name, "registry");
        assert_eq!(Profile::of("ghcr.io.example.com").name, "registry");
        assert_eq!(Profile::of("127.0.0.1:5000").name, "registry");
    }
}
