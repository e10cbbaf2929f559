//! What a worker may not do, whatever its model makes of it. Linux only; elsewhere a worker is a process and no more.

use std::path::PathBuf;

/// Says what of the file system a worker needs.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Folders and files that are read.
    pub read: Vec<PathBuf>,
    /// Folders that are written too.
    pub write: Vec<PathBuf>,
}

/// Lets this thread, and those that it starts, open files in some places only.
///
/// To be called while the process has one thread. Gives whether the kernel holds to it.
#[cfg(target_os = "linux")]
pub fn restrict_files(places: &Places) -> bool {
    use landlock::{
        ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus,
    };
    let abi = ABI::V3;
    let rules = || -> Result<RulesetStatus, landlock::RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .create()?;
        let read = places.read.iter().map(|path| (path, AccessFs::from_read(abi)));
        let write = places.write.iter().map(|path| (path, AccessFs::from_all(abi)));
        for (path, access) in read.chain(write) {
            // What does not exist needs no leave.
            let Ok(opened) = PathFd::new(path) else { continue };
            let access = match path.is_dir() {
                true => access,
                false => access & AccessFs::from_file(abi),
            };
            rules = rules.add_rule(PathBeneath::new(opened, access))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    matches!(
        rules(),
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced)
    )
}

#[cfg(not(target_os = "linux"))]
pub fn restrict_files(_: &Places) -> bool {
    false
}

/// Takes from all threads of this process what serving never needs: programs, sockets, mounts, other processes' memory.
///
/// Gives whether the kernel holds to it.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn restrict_calls() -> bool {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    const REFUSED: &[libc::c_long] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_socket,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_listen,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_io_uring_setup,
    ];
    let rules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let Ok(arch) = std::env::consts::ARCH.try_into() else {
        return false;
    };
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch);
    let program: Option<BpfProgram> = filter.ok().and_then(|filter| filter.try_into().ok());
    program.is_some_and(|program| apply_filter_all_threads(&program).is_ok())
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) fn restrict_calls() -> bool {
    false
}
