//! Timing programs fairly: in random order, with pauses in which the machine falls idle
//! (in a tight loop the wait for a control group disappears, at a real start it is there).

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitStatus, wait};

use crate::Result;

/// One program to be timed.
pub(crate) struct Contestant {
    /// Its line in the table.
    pub(crate) name: String,
    /// How it is called; given the number of the round, for names that must be new.
    pub(crate) call: Box<dyn Fn(usize) -> Command>,
    /// The exit status that is right.
    pub(crate) code: i32,
}

impl Contestant {
    /// One that must succeed.
    pub(crate) fn new(name: &str, call: impl Fn(usize) -> Command + 'static) -> Self {
        Self {
            name: name.to_owned(),
            call: Box::new(call),
            code: 0,
        }
    }
}

/// Wall clock and processor time of one run, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// From before the fork to after the wait.
    pub(crate) wall: f64,
    /// User and system time of the whole tree.
    pub(crate) cpu: f64,
}

/// Medians by name.
pub(crate) type Medians = BTreeMap<String, Sample>;

/// Runs each contestant in each round and prints and returns the medians.
pub(crate) fn compare(
    contestants: &[Contestant],
    rounds: usize,
    pause: Duration,
) -> Result<Medians> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    let mut order: Vec<usize> = (0..contestants.len()).collect();
    let mut random = Random::new();
    // One round to warm up, not counted.
    for round in 0..=rounds {
        random.shuffle(&mut order);
        for &index in &order {
            std::thread::sleep(pause);
            let sample = once(&contestants[index], round)?;
            if round > 0 {
                samples[index].push(sample);
            }
        }
    }
    let mut medians = Medians::new();
    println!(
        "{:<44} {:>9} {:>9} {:>9}   ({rounds} rounds)",
        "", "wall ms", "10%..90%", "cpu ms"
    );
    for (contestant, samples) in contestants.iter().zip(&samples) {
        let mut walls: Vec<f64> = samples.iter().map(|sample| sample.wall).collect();
        let mut cpus: Vec<f64> = samples.iter().map(|sample| sample.cpu).collect();
        let median = Sample {
            wall: quantile(&mut walls, 0.5),
            cpu: quantile(&mut cpus, 0.5),
        };
        let (low, high) = (quantile(&mut walls, 0.1), quantile(&mut walls, 0.9));
        println!(
            "{:<44} {:>9.2} {low:>6.1}..{high:<6.1} {:>6.2}",
            contestant.name, median.wall, median.cpu
        );
        medians.insert(contestant.name.clone(), median);
    }
    Ok(medians)
}

fn once(contestant: &Contestant, round: usize) -> Result<Sample> {
    let mut command = (contestant.call)(round);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let before = children_ms()?;
    let start = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|e| format!("{}: {command:?}: {e}", contestant.name))?;
    let status = child
        .wait()
        .map_err(|e| format!("{}: {e}", contestant.name))?;
    let wall = ms(start.elapsed());
    // Helpers that made themselves daemons have come to this process; they end soon.
    reap();
    if status.code() != Some(contestant.code) {
        return Err(format!("{}: {command:?}: {status}", contestant.name));
    }
    Ok(Sample {
        wall,
        cpu: children_ms()? - before,
    })
}

/// Waits for every child there is.
fn reap() {
    while let Ok(status) = wait() {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// User and system time of all children that were waited for, in milliseconds.
pub(crate) fn children_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|e| format!("getrusage: {e}"))?;
    let [user, system] = [usage.user_time(), usage.system_time()];
    let micros =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    Ok(micros(user) + micros(system))
}

/// Runs a command once; its wall time in milliseconds. It must succeed.
pub(crate) fn time(command: &mut Command) -> Result<f64> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let took = ms(start.elapsed());
    if output.status.success() {
        return Ok(took);
    }
    Err(format!(
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// Like [`time`], for work that fills the page cache.
pub(crate) fn time_warm(command: &mut Command) -> Result<f64> {
    settle();
    time(command)
}

/// Before work that fills the page cache: what was written before is on the disk, and the memory is the
/// machine's already. A virtual machine gives what is free back to its host, and a page got again costs
/// ten times one that is there, which hides what the programs cost.
pub(crate) fn settle() {
    const BYTES: usize = 1 << 31;
    // First, since the disk of the benches is a file, whose pages are memory, too; and twice, since
    // what one call brings to that file the next one brings to the machine's disk.
    rustix::fs::sync();
    rustix::fs::sync();
    std::thread::sleep(Duration::from_millis(300));
    let mut memory = vec![0_u8; BYTES];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// The median of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Enough randomness for an order (xorshift).
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the clock.
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |time| time.as_nanos() as u64) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So many bytes, in whole numbers of eight.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes
    }

    /// Puts items into any order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}
