use std::fs::Metadata;

/// Holds what the system knows about a file; two equal values mean that the file has not been touched in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The file system; 0 where the system does not tell.
    pub device: u64,
    /// The file within its file system; 0 where the system does not tell.
    pub inode: u64,
    /// The number of bytes of content.
    pub size_bytes: u64,
    /// When the content was changed. Units: nanoseconds since 1970.
    pub modified_ns: i128,
    /// When content, name or permissions were changed; the time of creation where the system does not tell. Units:
    /// nanoseconds since 1970.
    pub changed_ns: i128,
    /// The permission bits; 0 where the system has none.
    pub mode: u32,
    /// The owner; 0 where the system does not number users.
    pub owner: u32,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether it is a symbolic link.
    pub is_link: bool,
}

impl Stat {
    pub(super) fn of(found: &Metadata) -> Stat {
        let kind = found.file_type();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            Stat {
                device: found.dev(),
                inode: found.ino(),
                size_bytes: found.len(),
                modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
                changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
                mode: found.mode() & 0o7777,
                owner: found.uid(),
                is_file: kind.is_file(),
                is_folder: kind.is_dir(),
                is_link: kind.is_symlink(),
            }
        }
        #[cfg(not(unix))]
        {
            let nanoseconds = |time: std::io::Result<std::time::SystemTime>| {
                time.ok()
                    .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                    .map_or(0, |since| since.as_nanos() as i128)
            };
            Stat {
                device: 0,
                inode: 0,
                size_bytes: found.len(),
                modified_ns: nanoseconds(found.modified()),
                changed_ns: nanoseconds(found.created()),
                mode: 0,
                owner: 0,
                is_file: kind.is_file(),
                is_folder: kind.is_dir(),
                is_link: kind.is_symlink(),
            }
        }
    }
}
