//! Test binaries with seeded bugs in them: built by cargo, run one by one.

use anyhow::{Context, ensure};
use hapax_core::seeded::Bug;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The variable by which a test binary, or a node, is told its bug.
pub(super) const VARIABLE: &str = "HAPAX_TEST_BUG";
/// The packages whose tests are run.
const PACKAGES: [&str; 3] = ["hapax-core", "hapax-store", "hapax-raft"];

/// One test binary.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its package and target, as in `hapax-store/log_crash`.
    pub name: String,
    program: PathBuf,
    /// Where its package lies: tests look for their files from there.
    folder: PathBuf,
}

/// Builds the tests of these targets (`lib` for a crate's own), or of all, with the feature.
///
/// # Errors
/// When cargo does not build them.
pub fn build(targets: Option<&[&str]>) -> anyhow::Result<Vec<Suite>> {
    let mut cargo = cargo();
    for target in targets.unwrap_or_default() {
        match *target {
            "lib" => cargo.arg("--lib"),
            name => cargo.args(["--test", name]),
        };
    }
    if targets.is_none() {
        cargo.args(["--lib", "--tests"]);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo does not start")?;
    ensure!(output.status.success(), "the suites do not build");
    let suites: Vec<Suite> =
        output.stdout.lines().map_while(Result::ok).filter_map(|it| suite_of(&it)).collect();
    ensure!(!suites.is_empty(), "cargo named no test binary");
    Ok(suites)
}

/// Builds the node under test with the feature, and puts it in a file of its own: where cargo leaves it,
/// the next build without the feature is looked for.
///
/// # Errors
/// When cargo does not build it.
pub fn build_node(into: &Path) -> anyhow::Result<PathBuf> {
    // Cargo builds it along with a test that runs it.
    let mut cargo = cargo();
    cargo.args(["--test", "workload"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo does not start")?;
    ensure!(output.status.success(), "the node does not build");
    let built = output.stdout.lines().map_while(Result::ok).filter_map(|message| {
        let message: serde_json::Value = serde_json::from_str(&message).ok()?;
        let is_node = message["target"]["name"] == "hapax-under-test" && message["profile"]["test"] == false;
        is_node.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    let program = into.join("hapax-under-test");
    std::fs::copy(built.last().context("cargo named no node")?, &program)?;
    Ok(program)
}

/// Builds with the feature. The whole workspace is chosen, so that its dependencies are those that are built already.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--no-run", "--workspace", "--message-format=json-render-diagnostics"]);
    let features: Vec<String> = PACKAGES.iter().map(|package| format!("{package}/seeded-bugs")).collect();
    cargo.arg("--features").arg(features.join(","));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo
}

/// The suite that a message of cargo tells of.
fn suite_of(message: &str) -> Option<Suite> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let program = PathBuf::from(message["executable"].as_str()?);
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let id = message["package_id"].as_str()?;
    let package = PACKAGES.iter().find(|package| {
        let short = package.trim_start_matches("hapax-");
        id.contains(&format!("/src/{short}#"))
    })?;
    let kind = message["target"]["kind"][0].as_str()?;
    let target = if kind == "lib" { "lib" } else { message["target"]["name"].as_str()? };
    Some(Suite { name: format!("{package}/{target}"), program, folder })
}

/// How a run of a test binary ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All tests passed; there were so many.
    Passed(u64),
    /// This one failed first.
    Failed(String),
    /// It did not end in time, and nothing had failed by then.
    Hung,
    /// It ended like this and named no test: an abort takes the test's own line with it.
    Died(String),
}

impl Suite {
    /// Runs one test, or all, with or without a bug, and stops at the first failure.
    ///
    /// # Errors
    /// When the binary does not start.
    pub fn run(&self, test: Option<&str>, bug: Option<Bug>, within: Duration) -> anyhow::Result<Ended> {
        let mut command = Command::new(&self.program);
        if let Some(test) = test {
            command.args(["--exact", test]);
        }
        command.current_dir(&self.folder).env(VARIABLE, bug.map_or("", Bug::name));
        // A case that fails has done its work: nobody needs the smallest one.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("RUST_BACKTRACE", "0");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = Running(child.with_context(|| format!("{} does not start", self.name))?);
        let stdout = child.0.stdout.take().context("its output is not there")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + within;
        let mut passed = 0;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match result_of(&line) {
                    Some((test, false)) => return Ok(Ended::Failed(test.to_owned())),
                    Some((_, true)) => passed += 1,
                    None => {}
                },
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(Ended::Hung),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.0.wait()?;
        if !status.success() {
            return Ok(Ended::Died(status.to_string()));
        }
        Ok(Ended::Passed(passed))
    }
}

/// The test that a line of libtest's output tells of, and whether it passed.
fn result_of(line: &str) -> Option<(&str, bool)> {
    let (test, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let test = test.trim_end_matches(" - should panic");
    match result {
        "ok" => Some((test, true)),
        "FAILED" => Some((test, false)),
        _ => None,
    }
}

/// A test binary that ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way nobody is left.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_the_test_harness_is_read() {
        assert_eq!(result_of("test a::b ... ok"), Some(("a::b", true)));
        assert_eq!(result_of("test a::b ... FAILED"), Some(("a::b", false)));
        assert_eq!(result_of("test a::b ... ignored"), None);
        assert_eq!(result_of("running 3 tests"), None);
    }

    #[test]
    fn only_the_test_binaries_of_the_layers_are_suites() {
        let message = |id: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///r/src/{id}#hapax@0.1.0","manifest_path":"/r/src/{id}/Cargo.toml","target":{{"kind":["test"],"name":"it"}},"profile":{{"test":{test}}},"executable":"/r/it-1"}}"#
            )
        };
        assert_eq!(
            suite_of(&message("core", true)).map(|suite| suite.name),
            Some("hapax-core/it".to_owned())
        );
        assert!(suite_of(&message("core", false)).is_none());
        assert!(suite_of(&message("client", true)).is_none());
        assert!(suite_of("not JSON").is_none());
    }
}
