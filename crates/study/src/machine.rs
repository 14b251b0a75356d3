//! The machine that a study runs on, as far as it decides the numbers.

use std::fs;

use serde::{Deserialize, Serialize};

/// Processor, cores, memory and system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor; `unknown` where the system does not say.
    pub processor: String,
    /// Instruction sets that matter to the kernels.
    pub features: Vec<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Frequency governor of the first core; absent where the system does not say.
    pub governor: Option<String>,
    /// Memory in bytes; absent where the system does not say.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

const FEATURES: [&str; 10] = [
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "asimd",
    "asimddp",
];

impl Machine {
    /// Reads it from the system.
    pub fn detect() -> Machine {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |names: &[&str]| {
            cpu.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                names.contains(&key.trim()).then(|| value.trim().to_owned())
            })
        };
        let flags = field(&["flags", "Features"]).unwrap_or_default();
        let flags: Vec<&str> = flags.split(' ').collect();
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
            Some(kibibytes * 1024)
        });
        Machine {
            processor: field(&["model name", "Model"]).unwrap_or_else(|| String::from("unknown")),
            features: FEATURES.into_iter().filter(|name| flags.contains(name)).map(String::from).collect(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            governor: fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .ok()
                .map(|governor| governor.trim().to_owned()),
            memory_bytes: memory,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}
