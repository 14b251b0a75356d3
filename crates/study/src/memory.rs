//! Memory and processor time of a worker's process, from `/proc`; absent on systems without it.

use std::fs;

use crate::report::Memory;

/// Ticks of a second in `/proc/PID/stat`: Linux gives user space 100 whatever its own clock does.
const TICKS: f64 = 100.0;

/// Resident memory of a process now, in bytes.
pub fn resident(process: u32) -> Option<u64> {
    status(process, "VmRSS:")
}

/// Forgets the peak of a process's resident memory, so that [`peak`] is that of what it does from now on.
pub fn forget_peak(process: u32) {
    // Where this is not allowed, the peak is that of the whole life of the process: too high, never too low.
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// The most resident memory of a process since [`forget_peak`], beside what it had when it was idle.
pub fn peak(process: u32, idle: Option<u64>) -> Option<Memory> {
    Some(Memory { idle: idle?, peak: status(process, "VmHWM:")? })
}

/// Processor seconds that all threads of a process have used.
pub fn processor_seconds(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn status(process: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::{forget_peak, peak, processor_seconds, resident};

    #[test]
    fn a_peak_is_seen_after_it_has_gone() {
        let own = std::process::id();
        forget_peak(own);
        let idle = resident(own);
        let block = vec![1u8; 64 << 20];
        std::hint::black_box(&block);
        drop(block);
        let memory = peak(own, idle).unwrap();
        assert!(memory.above_idle() >= 48 << 20, "{memory:?}");
    }

    // The scheduler counts the same in nanoseconds.
    #[test]
    fn processor_time_is_the_scheduler_s() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; echo; exec sleep 60";
        let mut child = Command::new("sh").args(["-c", busy]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let found = processor_seconds(child.id()).unwrap();
        let scheduled = std::fs::read_to_string(format!("/proc/{}/schedstat", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let nanoseconds: f64 = scheduled.split_whitespace().next().unwrap().parse().unwrap();
        assert!(found > 0.05 && (found - nanoseconds / 1e9).abs() < 0.05, "{found} s, {nanoseconds} ns");
    }
}
