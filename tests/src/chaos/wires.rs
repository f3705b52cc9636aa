//! A network of its own for a run: each node in a network namespace, with an interface and a cable to a bridge.
//!
//! The proxy can only do what TCP lets through; here the kernel's own TCP loses packets, sends them again, and finds
//! a carrier gone. All of it is inside a network and a mount namespace that the whole run has entered, which end with
//! its last process: however a run ends, it leaves no interface and no namespace, and two runs do not meet.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Says to the program, started again, that it is inside.
const ENTERED: &str = "CHAOS_NETWORK";
/// What a run does in its new namespaces before anything else: `ip` keeps its own under `/run/netns`.
const SETTLE_IN: &str = "mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip link set lo up";
/// Everything that a run will need, tried once in namespaces that end at once.
const TRY: &str = "ip link add cables type bridge && ip netns add try && \
    ip link add cable type veth peer name eth0 netns try && ip netns exec try nft add table inet faults && \
    ip netns exec try nft add chain inet faults in '{ type filter hook input priority 0; }' && \
    ip netns exec try nft add rule inet faults in numgen random mod 100 '<' 1 counter drop";
/// The run's own end of every cable.
const HOST: &str = "10.213.0.1";
const BRIDGE: &str = "cables";

/// The cables of a run that is inside.
#[derive(Clone, Copy, Debug)]
pub struct Wires {
    nodes: usize,
}

/// Whether this process runs in namespaces of its own.
#[must_use]
pub fn is_entered() -> bool {
    std::env::var_os(ENTERED).is_some()
}

/// Why this machine does not let a run have a network of its own; none where it does.
#[must_use]
pub fn missing() -> Option<String> {
    let tried = inside(&format!("{SETTLE_IN} && {TRY}")).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Starts this program again, with the same arguments, inside; comes back only with an error.
#[must_use]
pub fn enter() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut command = inside(&format!("{SETTLE_IN} && exec \"$0\" \"$@\""));
    command.arg(program).args(std::env::args_os().skip(1)).env(ENTERED, "own");
    anyhow::Error::new(command.exec()).context("cannot enter a network namespace")
}

/// A shell in new namespaces; arguments become its own.
fn inside(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--", "sh", "-c", script]);
    command
}

impl Wires {
    /// Lays a cable to a new namespace for each node.
    ///
    /// # Errors
    /// When the process is not inside, or the system refuses.
    pub fn lay(nodes: usize) -> Result<Self> {
        ensure!(is_entered(), "the run is not in a network namespace of its own");
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{HOST}/24"), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        for i in 0..nodes {
            let (space, cable) = (space(i), cable(i));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["link", "set", &cable, "master", BRIDGE, "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", host(i)), "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        Ok(Self { nodes })
    }

    /// Where the run itself listens.
    #[must_use]
    pub fn host() -> &'static str {
        HOST
    }

    /// Where the nodes listen.
    #[must_use]
    pub fn hosts(self) -> Vec<String> {
        (0..self.nodes).map(host).collect()
    }

    /// A command that runs `program` as node `i`: the process that is started becomes the program.
    #[must_use]
    pub fn command(i: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &space(i)]).arg(program);
        command
    }

    /// Pulls the cable of node `i`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn pull(i: usize) -> Result<()> {
        ip(&["link", "set", &cable(i), "down"]).map(drop)
    }

    /// Puts the cable of node `i` back.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn plug(i: usize) -> Result<()> {
        ip(&["link", "set", &cable(i), "up"]).map(drop)
    }

    /// Whether the interface of node `i` has a carrier, as its own end sees it.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_carrier(i: usize) -> Result<bool> {
        let seen = interface(&["-n", &space(i), "-j", "link", "show", "dev", "eth0"])?;
        let flags = seen["flags"].as_array().context("an interface without flags")?;
        Ok(!flags.iter().any(|flag| flag == "NO-CARRIER"))
    }

    /// Packets that went over the cable of node `i`, both ways, as the bridge's end counts them.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn packets(i: usize) -> Result<u64> {
        let seen = interface(&["-j", "-s", "link", "show", "dev", &cable(i)])?;
        let of =
            |way: &str| seen["stats64"][way]["packets"].as_u64().context("an interface without counters");
        Ok(of("rx")? + of("tx")?)
    }

    /// Drops `percent` of the packets that node `i` sends, and as many of those that come to it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lose(i: usize, percent: u64) -> Result<()> {
        let chain = |hook: &str, of: &str| {
            format!(
                "chain {hook} {{\ntype filter hook {hook} priority 0;\n{of} \"lo\" accept\n\
                 numgen random mod 100 < {percent} counter drop\n}}\n"
            )
        };
        let (sent, come) = (chain("output", "oifname"), chain("input", "iifname"));
        exec(i, &["nft", &format!("table inet faults {{\n{sent}{come}}}\n")]).map(drop)
    }

    /// Ends that; says how many packets were dropped.
    ///
    /// # Errors
    /// When nothing was lost on order, or the system refuses.
    pub fn keep(i: usize) -> Result<u64> {
        let dropped = Self::lost(i);
        exec(i, &["nft", "delete table inet faults"])?;
        dropped
    }

    /// Packets dropped so far, as the kernel counts them.
    ///
    /// # Errors
    /// When nothing is lost on order.
    pub fn lost(i: usize) -> Result<u64> {
        let text = exec(i, &["nft", "-j", "list table inet faults"])?;
        let seen: Value = serde_json::from_str(&text)?;
        let rows = seen["nftables"].as_array().context("a table without rows")?;
        let parts = rows.iter().filter_map(|row| row["rule"]["expr"].as_array()).flatten();
        let counts: Vec<u64> = parts.filter_map(|part| part["counter"]["packets"].as_u64()).collect();
        ensure!(counts.len() == 2, "{} counters where two should be", counts.len());
        Ok(counts.iter().sum())
    }

    /// TCP segments that node `i` had to send again, in all the lives of its process.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn sent_again(i: usize) -> Result<u64> {
        let text = exec(i, &["cat", "/proc/net/snmp"])?;
        let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Tcp:")).collect();
        let [names, values] = rows[..] else { bail!("no counters of TCP") };
        let place = names.split_whitespace().position(|name| name == "RetransSegs");
        let value = place.and_then(|place| values.split_whitespace().nth(place));
        Ok(value.context("no count of segments sent again")?.parse()?)
    }
}

fn space(i: usize) -> String {
    format!("node-{}", i + 1)
}

fn cable(i: usize) -> String {
    format!("cable-{}", i + 1)
}

fn host(i: usize) -> String {
    format!("10.213.0.{}", i + 2)
}

/// The one interface of which `ip` is asked.
fn interface(arguments: &[&str]) -> Result<Value> {
    let mut seen: Vec<Value> = serde_json::from_str(&ip(arguments)?)?;
    seen.pop().context("no such interface")
}

fn ip(arguments: &[&str]) -> Result<String> {
    output(Command::new("ip").args(arguments))
}

/// Runs a command where node `i` is.
fn exec(i: usize, command: &[&str]) -> Result<String> {
    ip(&[&["netns", "exec", &space(i)], command].concat())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
