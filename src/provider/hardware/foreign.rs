//! Asks the libraries of drivers what they know: NVIDIA's, level zero and Vulkan.
//!
//! Unsafe: these libraries have C interfaces, and no other. Each call is given what its documentation asks for. Since a
//! driver may crash in any of them, a child process asks, and gpux reads its answer.
#![allow(unsafe_code)]

use std::error::Error as _;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt::Display;
use std::time::Duration;

use libloading::{Library as Loaded, Symbol};
use serde::{Deserialize, Serialize};

use super::{Gpu, Npu, Vendor, VulkanDevice};

/// Names a library of a driver that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Nvidia,
    LevelZero,
    Vulkan,
}

impl Library {
    /// Every library that is worth a question.
    pub const ALL: [Library; 3] = [Library::Nvidia, Library::LevelZero, Library::Vulkan];

    /// Gives the name by which the child process is told what to ask.
    pub fn name(self) -> &'static str {
        match self {
            Library::Nvidia => "nvidia",
            Library::LevelZero => "level-zero",
            Library::Vulkan => "vulkan",
        }
    }

    /// Gives the names of the files, the first that loads counts.
    pub fn files(self) -> &'static [&'static str] {
        match (self, cfg!(windows)) {
            (Library::Nvidia, false) => &["libcuda.so.1"],
            (Library::Nvidia, true) => &["nvcuda.dll"],
            (Library::LevelZero, false) => &["libze_loader.so.1"],
            (Library::LevelZero, true) => &["ze_loader.dll"],
            (Library::Vulkan, false) if cfg!(target_os = "macos") => &["libvulkan.1.dylib", "libMoltenVK.dylib"],
            (Library::Vulkan, false) => &["libvulkan.so.1"],
            (Library::Vulkan, true) => &["vulkan-1.dll"],
        }
    }
}

/// Is what a library answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    Nvidia {
        driver: Option<String>,
        cuda_version: Option<String>,
        gpus: Vec<Gpu>,
    },
    LevelZero {
        gpus: Vec<Gpu>,
        npus: Vec<Npu>,
    },
    Vulkan {
        devices: Vec<VulkanDevice>,
    },
}

/// Loads a library and asks it. To be called in a child process.
///
/// Errors: a text that says which file or which call failed.
pub fn ask(library: Library) -> Result<Asked, String> {
    let loaded = open(library.files())?;
    match library {
        Library::Nvidia => nvidia(&loaded),
        Library::LevelZero => level_zero(&loaded),
        Library::Vulkan => vulkan(&loaded),
    }
}

fn open(files: &[&str]) -> Result<Loaded, String> {
    let mut failures = Vec::new();
    for &file in files {
        // SAFETY: loading runs the library's own start; this is a child process, which may end by it.
        match unsafe { Loaded::new(file) } {
            Ok(loaded) => return Ok(loaded),
            Err(error) => {
                // The loader's own words are in the source.
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                failures.push(if why.contains(file) {
                    why
                } else {
                    format!("{file}: {why}")
                });
            }
        }
    }
    Err(failures.join("; "))
}

/// Finds a function of a library.
///
/// # Safety
/// `T` must be the type that the library's documentation gives the function.
unsafe fn function<'a, T>(library: &'a Loaded, name: &str) -> Result<Symbol<'a, T>, String> {
    // SAFETY: as of this function.
    unsafe { library.get(name) }.map_err(|_| format!("the library has no {name}"))
}

/// Turns a status that is not zero into a text.
fn check(call: &str, status: impl Display + PartialEq<i32>) -> Result<(), String> {
    if status == 0 {
        Ok(())
    } else {
        Err(format!("{call} answered {status}"))
    }
}

/// Reads what a library wrote into a buffer, to the first NUL.
fn text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer
        .iter()
        .map(|&byte| byte.cast_unsigned())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Source: the CUDA driver interface, `cuda.h`.
fn nvidia(cuda: &Loaded) -> Result<Asked, String> {
    const MAJOR: c_int = 75;
    const MINOR: c_int = 76;
    const DOMAIN: c_int = 50;
    const BUS: c_int = 33;
    const DEVICE: c_int = 34;
    // SAFETY: the types are those of `cuda.h`; every pointer leads to a value of the type that is written.
    unsafe {
        let init: Symbol<unsafe extern "C" fn(c_uint) -> c_int> = function(cuda, "cuInit")?;
        let version: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = function(cuda, "cuDriverGetVersion")?;
        let count: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = function(cuda, "cuDeviceGetCount")?;
        let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> = function(cuda, "cuDeviceGet")?;
        let name: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> = function(cuda, "cuDeviceGetName")?;
        let memory: Symbol<unsafe extern "C" fn(*mut usize, c_int) -> c_int> = function(cuda, "cuDeviceTotalMem_v2")?;
        let attribute: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
            function(cuda, "cuDeviceGetAttribute")?;
        check("cuInit", init(0))?;
        let mut number = 0;
        check("cuDriverGetVersion", version(&raw mut number))?;
        let mut devices = 0;
        check("cuDeviceGetCount", count(&raw mut devices))?;
        let mut gpus = Vec::new();
        for at in 0..devices {
            let mut device = 0;
            check("cuDeviceGet", get(&raw mut device, at))?;
            let mut buffer = [0; 256];
            check("cuDeviceGetName", name(buffer.as_mut_ptr(), 255, device))?;
            let mut bytes = 0;
            check("cuDeviceTotalMem", memory(&raw mut bytes, device))?;
            let of = |what| {
                let mut value = 0;
                (attribute(&raw mut value, what, device) == 0).then_some(value)
            };
            let capability = of(MAJOR).zip(of(MINOR));
            let bus = of(DOMAIN).zip(of(BUS)).zip(of(DEVICE));
            gpus.push(Gpu {
                vendor: Vendor::Nvidia,
                name: text(&buffer),
                bus: bus.map(|((domain, bus), device)| format!("{domain:04x}:{bus:02x}:{device:02x}.0")),
                memory_bytes: Some(bytes as u64),
                compute_capability: capability.map(|(major, minor)| format!("{major}.{minor}")),
                architecture: None,
                driver: Some("nvidia".to_owned()),
            });
        }
        Ok(Asked::Nvidia {
            driver: nvml_driver(),
            cuda_version: Some(format!("{}.{}", number / 1000, number % 1000 / 10)),
            gpus,
        })
    }
}

/// Is how busy a card is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// Its number among the cards of the driver.
    pub index: u32,
    pub name: String,
    /// The share of the last moments in which it computed; `None` where the driver does not tell, as of a part of a card.
    pub busy: Option<f64>,
    /// Memory that is taken, by whomever. Units: bytes.
    pub used_bytes: u64,
    pub memory_bytes: u64,
}

/// Is what NVML writes of a card's load. Units: per cent.
#[repr(C)]
#[derive(Default)]
struct NvmlUtilization {
    gpu: c_uint,
    memory: c_uint,
}

/// Is what NVML writes of a card's memory. Units: bytes.
#[repr(C)]
#[derive(Default)]
struct NvmlMemory {
    total: u64,
    free: u64,
    used: u64,
}

/// Looks at NVIDIA's cards every so often, until `tell` does not want to hear more. To be called in a child process.
///
/// Errors: a text that says which file or which call failed.
/// Source: `nvml.h`.
pub fn watch_gpus(interval: Duration, mut tell: impl FnMut(&[GpuUse]) -> bool) -> Result<(), String> {
    let nvml = open(NVML)?;
    // SAFETY: the types are those of `nvml.h`; every pointer leads to a value of the type that is written, and the buffer
    // has the length that is told.
    unsafe {
        let init: Symbol<unsafe extern "C" fn() -> c_int> = function(&nvml, "nvmlInit_v2")?;
        let count: Symbol<unsafe extern "C" fn(*mut c_uint) -> c_int> = function(&nvml, "nvmlDeviceGetCount_v2")?;
        let get: Symbol<unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int> =
            function(&nvml, "nvmlDeviceGetHandleByIndex_v2")?;
        let name: Symbol<unsafe extern "C" fn(*mut c_void, *mut c_char, c_uint) -> c_int> =
            function(&nvml, "nvmlDeviceGetName")?;
        let load: Symbol<unsafe extern "C" fn(*mut c_void, *mut NvmlUtilization) -> c_int> =
            function(&nvml, "nvmlDeviceGetUtilizationRates")?;
        let memory: Symbol<unsafe extern "C" fn(*mut c_void, *mut NvmlMemory) -> c_int> =
            function(&nvml, "nvmlDeviceGetMemoryInfo")?;
        check("nvmlInit", init())?;
        loop {
            let mut cards = 0;
            check("nvmlDeviceGetCount", count(&raw mut cards))?;
            let mut found = Vec::new();
            for index in 0..cards {
                let mut card = std::ptr::null_mut();
                check("nvmlDeviceGetHandleByIndex", get(index, &raw mut card))?;
                let mut buffer = [0; 96];
                check("nvmlDeviceGetName", name(card, buffer.as_mut_ptr(), 95))?;
                let (mut busy, mut held) = (NvmlUtilization::default(), NvmlMemory::default());
                let is_told = load(card, &raw mut busy) == 0;
                check("nvmlDeviceGetMemoryInfo", memory(card, &raw mut held))?;
                found.push(GpuUse {
                    index,
                    name: text(&buffer),
                    busy: is_told.then(|| f64::from(busy.gpu) / 100.0),
                    used_bytes: held.used,
                    memory_bytes: held.total,
                });
            }
            if !tell(&found) {
                return Ok(());
            }
            std::thread::sleep(interval);
        }
    }
}

/// The files of NVIDIA's management library.
const NVML: &[&str] = if cfg!(windows) {
    &["nvml.dll"]
} else {
    &["libnvidia-ml.so.1"]
};

/// Asks NVIDIA's management library for the version of the driver, which the CUDA interface does not tell.
///
/// Source: `nvml.h`.
fn nvml_driver() -> Option<String> {
    let nvml = open(NVML).ok()?;
    // SAFETY: the types are those of `nvml.h`; the buffer has the length that is told.
    unsafe {
        let init: Symbol<unsafe extern "C" fn() -> c_int> = function(&nvml, "nvmlInit_v2").ok()?;
        let version: Symbol<unsafe extern "C" fn(*mut c_char, c_uint) -> c_int> =
            function(&nvml, "nvmlSystemGetDriverVersion").ok()?;
        let mut buffer = [0; 96];
        let answered = init() == 0 && version(buffer.as_mut_ptr(), 95) == 0;
        answered.then(|| text(&buffer))
    }
}

/// Is the start of what level zero writes of a device; the rest is room for what follows.
///
/// Source: `ze_device_properties_t` in `ze_api.h`.
#[repr(C)]
struct ZeProperties {
    structure: c_int,
    next: *mut c_void,
    kind: c_int,
    vendor: u32,
    device: u32,
    flags: u32,
    subdevice: u32,
    clock_rate: u32,
    most_allocated: u64,
    most_contexts: u32,
    priority: u32,
    threads: u32,
    width: u32,
    units: u32,
    subslices: u32,
    slices: u32,
    timer_resolution: u64,
    timestamp_bits: u32,
    kernel_timestamp_bits: u32,
    uuid: [u8; 16],
    name: [c_char; 256],
    room: [u8; 256],
}

fn level_zero(library: &Loaded) -> Result<Asked, String> {
    const DEVICE_PROPERTIES: c_int = 0x3;
    const GPU: c_int = 1;
    const NPU: c_int = 5;
    type List = unsafe extern "C" fn(*mut u32, *mut *mut c_void) -> c_int;
    type ListOf = unsafe extern "C" fn(*mut c_void, *mut u32, *mut *mut c_void) -> c_int;
    // SAFETY: the types are those of `ze_api.h`; lists have as many places as are told, and the properties' structure is
    // at least as large as the library's.
    unsafe {
        let init: Symbol<unsafe extern "C" fn(c_uint) -> c_int> = function(library, "zeInit")?;
        let drivers: Symbol<List> = function(library, "zeDriverGet")?;
        let devices: Symbol<ListOf> = function(library, "zeDeviceGet")?;
        let properties: Symbol<unsafe extern "C" fn(*mut c_void, *mut ZeProperties) -> c_int> =
            function(library, "zeDeviceGetProperties")?;
        check("zeInit", init(0))?;
        let (mut gpus, mut npus) = (Vec::new(), Vec::new());
        let mut count = 0;
        check("zeDriverGet", drivers(&raw mut count, std::ptr::null_mut()))?;
        let mut found = vec![std::ptr::null_mut(); count as usize];
        check("zeDriverGet", drivers(&raw mut count, found.as_mut_ptr()))?;
        for driver in found {
            let mut count = 0;
            check("zeDeviceGet", devices(driver, &raw mut count, std::ptr::null_mut()))?;
            let mut found = vec![std::ptr::null_mut(); count as usize];
            check("zeDeviceGet", devices(driver, &raw mut count, found.as_mut_ptr()))?;
            for device in found {
                let mut of: ZeProperties = std::mem::zeroed();
                of.structure = DEVICE_PROPERTIES;
                check("zeDeviceGetProperties", properties(device, &raw mut of))?;
                let (vendor, name) = (Vendor::of_pci(of.vendor), text(&of.name));
                match of.kind {
                    GPU => gpus.push(Gpu {
                        vendor,
                        name,
                        bus: None,
                        memory_bytes: None,
                        compute_capability: None,
                        architecture: None,
                        driver: None,
                    }),
                    NPU => npus.push(Npu {
                        vendor,
                        name,
                        driver: None,
                    }),
                    _ => {}
                }
            }
        }
        Ok(Asked::LevelZero { gpus, npus })
    }
}

/// Is what Vulkan is told to start.
///
/// Source: `VkInstanceCreateInfo` in `vulkan_core.h`; all but the type of the structure may be zero.
#[repr(C)]
struct VkInstanceCreateInfo {
    structure: c_int,
    next: *const c_void,
    flags: u32,
    application: *const c_void,
    layers: u32,
    layer_names: *const *const c_char,
    extensions: u32,
    extension_names: *const *const c_char,
}

/// Is the start of what Vulkan writes of a device; the room is more than the limits after it take.
///
/// Source: `VkPhysicalDeviceProperties`, 824 bytes in all.
#[repr(C)]
struct VkProperties {
    version: u32,
    driver: u32,
    vendor: u32,
    device: u32,
    kind: c_int,
    name: [c_char; 256],
    room: [u64; 128],
}

fn vulkan(library: &Loaded) -> Result<Asked, String> {
    const INSTANCE_CREATE_INFO: c_int = 1;
    const PROCESSOR: c_int = 4;
    type Create = unsafe extern "C" fn(*const VkInstanceCreateInfo, *const c_void, *mut *mut c_void) -> c_int;
    type List = unsafe extern "C" fn(*mut c_void, *mut u32, *mut *mut c_void) -> c_int;
    // SAFETY: the types are those of `vulkan_core.h`; the list has as many places as are told, and the structure of
    // properties is at least as large as Vulkan's.
    unsafe {
        let create: Symbol<Create> = function(library, "vkCreateInstance")?;
        let list: Symbol<List> = function(library, "vkEnumeratePhysicalDevices")?;
        let properties: Symbol<unsafe extern "C" fn(*mut c_void, *mut VkProperties)> =
            function(library, "vkGetPhysicalDeviceProperties")?;
        let info = VkInstanceCreateInfo {
            structure: INSTANCE_CREATE_INFO,
            next: std::ptr::null(),
            flags: 0,
            application: std::ptr::null(),
            layers: 0,
            layer_names: std::ptr::null(),
            extensions: 0,
            extension_names: std::ptr::null(),
        };
        let mut instance = std::ptr::null_mut();
        check(
            "vkCreateInstance",
            create(&raw const info, std::ptr::null(), &raw mut instance),
        )?;
        let mut count = 0;
        check(
            "vkEnumeratePhysicalDevices",
            list(instance, &raw mut count, std::ptr::null_mut()),
        )?;
        let mut found = vec![std::ptr::null_mut(); count as usize];
        check(
            "vkEnumeratePhysicalDevices",
            list(instance, &raw mut count, found.as_mut_ptr()),
        )?;
        let mut devices = Vec::new();
        for device in found {
            let mut of: VkProperties = std::mem::zeroed();
            properties(device, &raw mut of);
            let version = of.version;
            devices.push(VulkanDevice {
                name: text(&of.name),
                is_software: of.kind == PROCESSOR,
                version: format!("{}.{}.{}", version >> 22 & 0x7f, version >> 12 & 0x3ff, version & 0xfff),
            });
        }
        // The process ends after this: destroying the instance would only run more of the driver.
        Ok(Asked::Vulkan { devices })
    }
}
