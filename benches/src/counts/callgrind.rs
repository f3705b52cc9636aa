//! Runs a program under callgrind, and reads what it wrote.

use super::Count;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// The function inside of which is counted, as callgrind knows it: with its path, or mangled.
const COUNTED: &str = "*counts*counted*";

/// The functions of the C library that give memory.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What `program` does inside of the counted function, when it is given `arguments` and `case`. `out` is overwritten.
///
/// # Errors
/// Callgrind is not there, the program fails, or what was written cannot be read.
pub fn count(program: &Path, arguments: &[&str], case: &str, out: &Path) -> Result<Count> {
    let run = Command::new("valgrind")
        .args([
            "--quiet",
            "--tool=callgrind",
            "--dump-line=no",
            "--dump-instr=yes",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(arguments)
        .arg(case)
        // The environment lies on the stack: another one moves what is behind it.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .context("valgrind cannot be started")?;
    ensure!(run.status.success(), "{}: {}", run.status, String::from_utf8_lossy(&run.stderr).trim_end());
    let written = std::fs::read_to_string(out).context("what callgrind wrote")?;
    let name = program.file_name().and_then(|name| name.to_str()).context("a program with a name")?;
    sum(&written, name)
}

/// Adds up what the object called `program` did by itself, and how often memory was asked for.
///
/// The file is a list of functions, each with its object (`ob=`, where it changes) and with the instructions that it
/// executed by itself, `ADDRESS TIMES`. In between are its calls: `calls=`, and then a line with what the callee took,
/// which is the callee's own and is passed by. The times in `calls=` include those outside of the counted function, so
/// that an allocation is counted by the allocator's first instruction.
fn sum(written: &str, program: &str) -> Result<Count> {
    let (mut instructions, mut is_own, mut allocator) = (0, false, None);
    let mut first: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut lines = written.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_own = Path::new(object).file_name().is_some_and(|name| name == program);
        } else if let Some(function) = line.strip_prefix("fn=") {
            allocator = ALLOCATORS.into_iter().find(|name| *name == function);
        } else if line.starts_with("calls=") {
            lines.next();
        } else if let Some((address, times)) = executed(line) {
            instructions += if is_own { times } else { 0 };
            if let Some(name) = allocator {
                let entry = first.entry(name).or_insert((address, times));
                *entry = (*entry).min((address, times));
            }
        }
    }
    ensure!(instructions > 0, "nothing was counted");
    Ok(Count { instructions, allocations: first.values().map(|(_, times)| times).sum() })
}

/// `0xADDRESS TIMES`.
fn executed(line: &str) -> Option<(u64, u64)> {
    let (address, times) = line.strip_prefix("0x")?.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, times.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "\
# callgrind format
positions: instr
events: Ir

ob=/usr/lib/libc.so.6
fl=???
fn=malloc
0x5000 3
0x5004 3
cfn=_int_malloc
calls=12 0x5100
0x5008 900

ob=/build/debug/program
fl=/build/src/apply.rs
fn=program::apply
0x1000 100
cob=/usr/lib/libc.so.6
cfi=???
cfn=malloc
calls=7 0x5000
0x1004 1400
0x1008 11

fn=program::settle
0x1100 5

ob=/usr/lib/libc.so.6
fn=malloc
0x5010 1

totals: 1023
";

    #[test]
    fn only_the_program_itself_and_entries_of_the_allocator_are_counted() {
        assert_eq!(sum(WRITTEN, "program").unwrap(), Count { instructions: 116, allocations: 3 });
    }

    #[test]
    fn a_file_in_which_nothing_is_counted_is_refused() {
        assert!(sum(WRITTEN, "another").is_err() && sum("", "program").is_err());
    }
}
