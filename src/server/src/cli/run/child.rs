//! The command as a child process.

use super::capture::{Streams, copy};
use super::result::Ran;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long its streams are read after a command has ended, if something still holds them open.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// Starts the command with this process's standard input, directory and environment.
pub(super) fn start(command: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Passes its output on, keeps it, and waits for its end; none when `lost` came first: then it was
/// killed.
///
/// SIGTERM is passed on to the command; SIGINT reaches it by itself, from the terminal. Neither ends
/// this process, which has a result to keep.
pub(super) async fn attend(
    mut child: Child,
    streams: Streams,
    lost: impl Future<Output = ()>,
) -> io::Result<Option<Ran>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terms = signal(SignalKind::terminate())?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (over, is_over) = watch::channel(false);
    let reading = async {
        tokio::try_join!(
            copy(stdout, streams.stdout(), after(is_over.clone())),
            copy(stderr, streams.stderr(), after(is_over.clone())),
        )
    };
    let ending = async {
        let ended = child.wait().await;
        over.send_replace(true);
        ended
    };
    let finish = async {
        let (read, ended) = tokio::join!(reading, ending);
        Ok::<_, io::Error>((read?, ended?))
    };
    tokio::pin!(finish, lost);
    let ((out, err), ended) = loop {
        tokio::select! {
            ended = &mut finish => break ended?,
            () = &mut lost => return Ok(None),
            _ = interrupts.recv() => {}
            _ = terms.recv() => {
                if let Some(id) = id {
                    // It may have ended just now.
                    let _gone = rustix::process::kill_process(id, rustix::process::Signal::TERM);
                }
            }
        }
    };
    Ok(Some(Ran {
        status: status(ended),
        signalled: ended.signal().is_some(),
        stdout: out.finish(),
        stderr: err.finish(),
    }))
}

/// A while after the command's end. A process that it left behind may keep its streams open for
/// ever: what that one writes later is not part of the result.
async fn after(mut over: watch::Receiver<bool>) {
    // The sender lives as long as the reading does.
    let _closed = over.wait_for(|over| *over).await;
    tokio::time::sleep(LEFT_BEHIND).await;
}

/// The exit status as a shell tells it: 128 and the signal for a command that a signal ended.
fn status(ended: ExitStatus) -> u8 {
    let status = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(status).unwrap_or(255)
}
