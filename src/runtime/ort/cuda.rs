//! The CUDA driver, for what ONNX Runtime does not offer: copies in the order of a stream, and pinned memory.

#![allow(unsafe_code)] // The driver's C interface; each call's reason stands beside it.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use libloading::Library;
use ort::memory::AllocationDevice;
use ort::value::DynTensor;

use super::gate;

/// What one thread copies between two starts of the copying engine: short enough that both work at once.
const CHUNK_BYTES: usize = 256 << 10;
/// From here on several threads fill the pinned memory: one alone is slower than the bus.
const PARALLEL_BYTES: usize = 4 << 20;
/// More threads than this do not copy faster than the memory of a machine allows.
const MOST_THREADS: usize = 6;

/// The driver's library, which comes with the kernel module and never with a pack.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Says why the driver does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no driver, or one that lacks a function.
    #[error("the CUDA driver `{LIBRARY}` cannot be loaded")]
    Library(#[source] libloading::Error),
    /// A call failed.
    #[error("the CUDA driver refuses {call}: {name}")]
    Call { call: &'static str, name: String },
    /// Earlier work on the device failed; nothing after it can be trusted.
    #[error("the device stopped working")]
    Thread,
}

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// Is the driver's library with the functions that are used; they stay as long as it does.
        struct Functions {
            $($field: unsafe extern "system" fn($($argument),*) -> c_int,)*
            _library: Library,
        }

        impl Functions {
            fn load() -> Result<Self, Error> {
                // SAFETY: the driver's library may be loaded by any program; what it runs at load is NVIDIA's to answer for.
                let library = unsafe { Library::new(LIBRARY) }.map_err(Error::Library)?;
                Ok(Functions {
                    // SAFETY: the types are those of cuda.h for these symbols.
                    $($field: *unsafe { library.get($symbol) }.map_err(Error::Library)?,)*
                    _library: library,
                })
            }
        }
    };
}

type Context = *mut c_void;
type StreamHandle = *mut c_void;

functions! {
    init = b"cuInit\0" (c_uint);
    device_get = b"cuDeviceGet\0" (*mut c_int, c_int);
    context_retain = b"cuDevicePrimaryCtxRetain\0" (*mut Context, c_int);
    context_release = b"cuDevicePrimaryCtxRelease_v2\0" (c_int);
    context_set = b"cuCtxSetCurrent\0" (Context);
    stream_create = b"cuStreamCreate\0" (*mut StreamHandle, c_uint);
    stream_destroy = b"cuStreamDestroy_v2\0" (StreamHandle);
    stream_synchronize = b"cuStreamSynchronize\0" (StreamHandle);
    host_alloc = b"cuMemHostAlloc\0" (*mut *mut c_void, usize, c_uint);
    host_free = b"cuMemFreeHost\0" (*mut c_void);
    to_device = b"cuMemcpyHtoDAsync_v2\0" (u64, *const c_void, usize, StreamHandle);
    to_host = b"cuMemcpyDtoHAsync_v2\0" (*mut c_void, u64, usize, StreamHandle);
    error_name = b"cuGetErrorName\0" (c_int, *mut *const c_char);
}

/// A stream that does not wait for the default one.
const STREAM_NON_BLOCKING: c_uint = 1;

/// Is a stream of work on one device, in the context that the CUDA runtime uses there.
pub(super) struct Stream {
    functions: Functions,
    device: c_int,
    context: Context,
    handle: StreamHandle,
}

// SAFETY: the driver's functions may be called from any thread, and each makes the context its own first.
unsafe impl Send for Stream {}
// SAFETY: as above; work that several threads put into one stream is done in some order.
unsafe impl Sync for Stream {}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Makes a stream on the device of that number.
    ///
    /// Errors: [`Error`] where there is no driver or no such device.
    pub(super) fn new(device: usize) -> Result<Arc<Self>, Error> {
        let _pass = gate::together();
        let functions = Functions::load()?;
        let ordinal = c_int::try_from(device).unwrap_or(c_int::MAX);
        let mut device = 0;
        let mut context = ptr::null_mut();
        // SAFETY: every pointer leads to a local of the type that the function writes.
        unsafe {
            functions.check("cuInit", (functions.init)(0))?;
            functions.check("cuDeviceGet", (functions.device_get)(&mut device, ordinal))?;
            functions.check(
                "cuDevicePrimaryCtxRetain",
                (functions.context_retain)(&mut context, device),
            )?;
        }
        // From here on dropping it gives back what was taken.
        let mut stream = Stream {
            functions,
            device,
            context,
            handle: ptr::null_mut(),
        };
        stream.enter()?;
        // SAFETY: the context is current, and the pointer leads to the field that holds the stream.
        let code = unsafe { (stream.functions.stream_create)(&mut stream.handle, STREAM_NON_BLOCKING) };
        stream.functions.check("cuStreamCreate", code)?;
        Ok(Arc::new(stream))
    }

    /// Gives the stream as the number that ONNX Runtime's options take.
    pub(super) fn address(&self) -> usize {
        self.handle as usize
    }

    /// Makes the device's context that of this thread.
    fn enter(&self) -> Result<(), Error> {
        // SAFETY: the context is retained until drop.
        self.functions
            .check("cuCtxSetCurrent", unsafe { (self.functions.context_set)(self.context) })
    }

    /// Waits until all that was put into the stream is done.
    pub(super) fn synchronize(&self) -> Result<(), Error> {
        self.enter()?;
        // SAFETY: the stream lives until drop.
        let code = unsafe { (self.functions.stream_synchronize)(self.handle) };
        self.functions.check("cuStreamSynchronize", code)
    }

    /// Makes pinned memory, which the device reads and writes by itself.
    pub(super) fn pin(self: &Arc<Self>, bytes: usize) -> Result<Pinned, Error> {
        let _pass = gate::together();
        self.enter()?;
        let mut memory = ptr::null_mut();
        // SAFETY: the pointer leads to a local; a size of 0 is not asked for.
        let code = unsafe { (self.functions.host_alloc)(&mut memory, bytes.max(1), 0) };
        self.functions.check("cuMemHostAlloc", code)?;
        let memory = NonNull::new(memory.cast()).ok_or(Error::Thread)?;
        // SAFETY: the driver gave that many bytes; they are written once before anybody reads them.
        unsafe { memory.write_bytes(0, bytes) };
        Ok(Pinned {
            stream: Arc::clone(self),
            memory,
            bytes,
        })
    }

    /// Puts the copy of `from` to the device's memory at `to` into the stream, through `pinned`.
    ///
    /// `from` may change as soon as it returns, `pinned` only once the stream is done with it.
    pub(super) fn upload(
        &self,
        from: &[u8],
        pinned: &mut Pinned,
        to: DeviceAddress,
        threads: usize,
    ) -> Result<(), Error> {
        assert!(
            from.len() <= pinned.bytes && from.len() <= to.bytes,
            "the buffers are as large as the tensor"
        );
        self.enter()?;
        let staged = &mut pinned.bytes_mut()[..from.len()];
        if from.len() < PARALLEL_BYTES || threads < 2 {
            return self.upload_chunks(
                from.chunks(CHUNK_BYTES).zip(staged.chunks_mut(CHUNK_BYTES)).enumerate(),
                to,
            );
        }
        let failure = Mutex::new(None);
        let mut shares: Vec<Vec<_>> = (0..threads.min(MOST_THREADS)).map(|_| Vec::new()).collect();
        let count = shares.len();
        let chunks = from.chunks(CHUNK_BYTES).zip(staged.chunks_mut(CHUNK_BYTES)).enumerate();
        for (at, chunk) in chunks {
            shares[at % count].push((at, chunk));
        }
        std::thread::scope(|scope| {
            let mut shares = shares.into_iter();
            let own = shares.next().unwrap_or_default();
            for share in shares {
                let failure = &failure;
                scope.spawn(move || {
                    if let Err(error) = self.enter().and_then(|()| self.upload_chunks(share.into_iter(), to)) {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                });
            }
            if let Err(error) = self.upload_chunks(own.into_iter(), to) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }

    fn upload_chunks<'a>(
        &self,
        chunks: impl Iterator<Item = (usize, (&'a [u8], &'a mut [u8]))>,
        to: DeviceAddress,
    ) -> Result<(), Error> {
        for (at, (from, staged)) in chunks {
            staged.copy_from_slice(from);
            let target = to.address + (at * CHUNK_BYTES) as u64;
            // SAFETY: `upload` saw that source and target are large enough; the pinned bytes live until the stream was
            // waited for, which the owner of both does before it gives either up.
            let code = unsafe { (self.functions.to_device)(target, staged.as_ptr().cast(), staged.len(), self.handle) };
            self.functions.check("cuMemcpyHtoDAsync", code)?;
        }
        Ok(())
    }

    /// Puts the copy of `bytes` bytes of the device's memory into `pinned` into the stream.
    ///
    /// They are there once the stream is done.
    pub(super) fn download(&self, from: DeviceAddress, pinned: &mut Pinned, bytes: usize) -> Result<(), Error> {
        assert!(
            bytes <= pinned.bytes && bytes <= from.bytes,
            "the buffers are as large as the tensor"
        );
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: both sides are large enough; see `upload_chunks` for their lives.
        let code = unsafe { (self.functions.to_host)(pinned.memory.as_ptr().cast(), from.address, bytes, self.handle) };
        self.functions.check("cuMemcpyDtoHAsync", code)
    }
}

impl Functions {
    fn check(&self, call: &'static str, code: c_int) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: the pointer leads to a local; the driver's names are static and end with NUL.
        let known = unsafe { (self.error_name)(code, &mut name) } == 0 && !name.is_null();
        let name = if known {
            // SAFETY: as above.
            unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned()
        } else {
            format!("error {code}")
        };
        Err(Error::Call { call, name })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _pass = gate::together();
        // Nothing can be done about a failure here; the driver gives all back when the process ends.
        if self.enter().is_ok() && !self.handle.is_null() {
            // SAFETY: nobody else has the handle any more: sessions that use it hold an Arc of this.
            unsafe { (self.functions.stream_destroy)(self.handle) };
        }
        // SAFETY: retained once in `new`.
        unsafe { (self.functions.context_release)(self.device) };
    }
}

/// Is where a tensor lies in the device's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceAddress {
    address: u64,
    bytes: usize,
}

impl DeviceAddress {
    /// Gives the place of a tensor; `None` where it does not lie in memory of a CUDA device.
    pub(super) fn of(tensor: &DynTensor) -> Option<Self> {
        let on_device = tensor.memory_info().allocation_device() == AllocationDevice::CUDA;
        on_device.then(|| DeviceAddress {
            address: tensor.data_ptr() as u64,
            bytes: tensor.size().unwrap_or(0),
        })
    }

    /// Gives the size of the tensor.
    pub(super) fn len(self) -> usize {
        self.bytes
    }
}

/// Is pinned host memory.
pub(super) struct Pinned {
    stream: Arc<Stream>,
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is plain memory with one owner.
unsafe impl Send for Pinned {}

impl Pinned {
    /// Gives the size.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Gives what lies there.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: it has that many bytes, all of them initialized when it was made.
        unsafe { slice::from_raw_parts(self.memory.as_ptr(), self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed for as long as the slice lives.
        unsafe { slice::from_raw_parts_mut(self.memory.as_ptr(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _pass = gate::together();
        // A copy may still be on its way where a call ended early.
        let _ = self.stream.synchronize();
        // SAFETY: the driver gave it, and nobody else has it.
        unsafe { (self.stream.functions.host_free)(self.memory.as_ptr().cast()) };
    }
}
