//! Calls of the system that the standard library does not have.
//!
//! Unsafe: foreign functions that take numbers, or a struct that lives through the call.
#![allow(unsafe_code)]

/// Ends the process without running destructors.
///
/// `std::process::exit` runs those of C++ libraries while other threads are still inside them.
pub(super) fn exit_at_once(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: the call takes a number and does not return.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(windows)]
    {
        use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
        // SAFETY: the handle is a constant that stands for this process.
        unsafe { TerminateProcess(GetCurrentProcess(), code as u32) };
        // The call above does not come back; the types do not say so.
        std::process::exit(code)
    }
}

/// Reads how much memory the machine has. Units: bytes.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn machine_memory() -> Option<u64> {
    // SAFETY: the calls take and give numbers.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}

/// Reads how much memory the machine has. Units: bytes.
#[cfg(windows)]
pub(super) fn machine_memory() -> Option<u64> {
    use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
    let mut status = MEMORYSTATUSEX {
        dwLength: size_of::<MEMORYSTATUSEX>() as u32,
        ..Default::default()
    };
    // SAFETY: the struct lives through the call and says its own size.
    let done = unsafe { GlobalMemoryStatusEx(&mut status) };
    (done != 0).then_some(status.ullTotalPhys)
}
