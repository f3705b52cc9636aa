//! A PostgreSQL of this run's own: one node, as initdb makes it, with more connections.

use super::process::{End, Process, find, free_ports};
use anyhow::{Context as _, Result, bail};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The program.
pub const PROGRAM: &str = "postgres";
/// Who it is run as by root, as whom it does not run.
const USER: &str = "postgres";
/// Its database's superuser.
pub const ROLE: &str = "bench";

/// Starts one in a directory; tells its port too.
///
/// # Errors
/// When it is not installed or cannot be run.
pub fn start(dir: &Path) -> Result<(Process, u16)> {
    let port = *free_ports(1)?.first().context("one port")?;
    let postgres = find(PROGRAM).context("postgres is not installed")?;
    let owner = if rustix::process::geteuid().is_root() { Some(user()?) } else { None };
    let home = dir.join("home");
    std::fs::create_dir(&home)?;
    if let Some((uid, gid)) = owner {
        // It must be able to go through.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
        chown(&home, Some(uid), Some(gid))?;
    }
    let as_owner = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(&home);
        if let Some((uid, gid)) = owner {
            command.uid(uid).gid(gid);
        }
        command
    };
    let data = home.join("data");
    let mut init = as_owner(&postgres.with_file_name("initdb"));
    init.arg("-D").arg(&data).args(["-U", ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    let made = init.output().context("cannot run initdb")?;
    if !made.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut command = as_owner(&postgres);
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(&home);
    for setting in ["listen_addresses=127.0.0.1", "fsync=on", "synchronous_commit=on", "max_connections=128"]
    {
        command.args(["-c", setting]);
    }
    // Its processes have groups of their own; told to quit, it kills them.
    Ok((Process::start(command, &dir.join("said"), End::Quit)?, port))
}

fn user() -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    user_of(&users).with_context(|| format!("there is no user {USER}, and root cannot run PostgreSQL"))
}

fn user_of(users: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == USER).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found() {
        let users =
            "root:x:0:0::/root:/bin/sh\npostgres:x:104:110:PostgreSQL,,,:/var/lib/postgresql:/bin/sh\n";
        assert_eq!(user_of(users), Some((104, 110)));
        assert_eq!(user_of("root:x:0:0::/root:/bin/sh\n"), None);
    }
}
