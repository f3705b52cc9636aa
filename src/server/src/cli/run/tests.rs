use super::capture::{Capture, KEPT_BYTES, Streams};
use super::result::Ran;
use super::{child, *};
use hapax_core::reply::Replayed;
use hapax_core::{LogTime, OutcomeClass, limits};

fn replayed(outcome: Outcome) -> Replayed {
    Replayed {
        class: outcome.class,
        result: outcome.result,
        metadata: outcome.metadata,
        completed_at: LogTime(0),
        expires_at: LogTime(1),
        attempt: 1,
        first_trace: None,
    }
}

fn words(line: &str) -> Vec<OsString> {
    ["sh", "-c", line].map(OsString::from).to_vec()
}

async fn run(line: &str) -> Ran {
    let child = child::start(&words(line)).unwrap();
    child::attend(child, Streams::Kept, std::future::pending()).await.unwrap().unwrap()
}

#[test]
fn a_replay_ends_and_writes_as_the_run_did() {
    for (status, signalled, class) in [
        (0, false, OutcomeClass::Success),
        (3, false, OutcomeClass::Rejected),
        (137, true, OutcomeClass::Error),
    ] {
        let ran = Ran { status, signalled, stdout: b"out\xff".to_vec(), stderr: b"err".to_vec() };
        let outcome = ran.outcome();
        assert_eq!(outcome.class, class);
        assert_eq!(Ran::from_replayed(&replayed(outcome)), ran);
    }
}

#[test]
fn a_result_of_another_tool_is_standard_output() {
    let outcome = Outcome {
        class: OutcomeClass::Rejected,
        result: hapax_core::Blob::from("by hand"),
        metadata: hapax_core::Metadata::default(),
    };
    let ran = Ran::from_replayed(&replayed(outcome));
    assert_eq!((ran.status, ran.stdout.as_slice(), ran.stderr.len()), (1, &b"by hand"[..], 0));
}

#[test]
fn what_is_kept_fits_one_result() {
    let mut capture = Capture::default();
    for _ in 0..100 {
        capture.take(&[b'x'; 4000]);
    }
    let kept = capture.finish();
    let left_out = 400_000 - KEPT_BYTES;
    assert!(kept.ends_with(format!("\n[hapax: {left_out} bytes left out]\n").as_bytes()));
    let ran = Ran { status: 0, signalled: false, stdout: kept.clone(), stderr: kept };
    assert!(ran.outcome().result.len() <= limits::RESULT_BYTES);
    assert!(ran.without_output().outcome().result.len() < 100);

    let mut whole = Capture::default();
    whole.take(&vec![b'x'; KEPT_BYTES]);
    assert_eq!(whole.finish().len(), KEPT_BYTES, "just fitting has no marker");
}

#[tokio::test]
async fn output_and_exit_status_of_a_command() {
    let ran = run("echo out; echo err >&2; exit 7").await;
    assert_eq!(
        ran,
        Ran { status: 7, signalled: false, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() }
    );
    let ran = run("kill -9 $$").await;
    assert_eq!((ran.status, ran.signalled), (137, true));
    assert!(child::start(&["/nonexistent/command".into()]).is_err());
}

#[tokio::test]
async fn a_process_left_behind_does_not_hold_the_run() {
    let left = tokio::time::timeout(Duration::from_secs(20), run("echo out; sleep 60 & exit 3")).await;
    let ran = left.expect("the run ends without the process that it left behind");
    assert_eq!((ran.status, ran.stdout.as_slice()), (3, &b"out\n"[..]));
}

#[tokio::test]
async fn a_lost_lease_kills_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let child =
        child::start(&words(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", file.display())))
            .unwrap();
    let started = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(child::attend(child, Streams::Kept, started).await.unwrap().is_none());
    let pid = std::fs::read_to_string(&file).unwrap();
    let stat = std::path::PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    let gone = async {
        // Until it is reaped it is a zombie, whose state is Z.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the command is dead");
}

#[test]
fn the_arguments_are_the_fingerprint() {
    let args = |command: &[&str]| RunArgs {
        target: Target {
            operation: hapax_core::Operation::new("op").unwrap(),
            key: hapax_core::Key::new("k").unwrap(),
        },
        lease: Duration::from_secs(1),
        wait: None,
        value: None,
        command: command.iter().map(OsString::from).collect(),
    };
    assert_ne!(args(&["a", "bc"]).command_bytes(), args(&["ab", "c"]).command_bytes());
    assert_eq!(args(&["a", "b"]).command_bytes(), b"a\0b\0");
}
