use super::*;
use clap::error::ErrorKind;
use hapax_core::Fingerprint;
use hapax_core::request::Ask;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn nonce() -> hapax_core::Nonce {
    hapax_core::Nonce::try_from([9; 16]).unwrap()
}

/// The request that a command line stands for.
fn ask(line: &str) -> anyhow::Result<Ask> {
    let cli = parse(line).unwrap();
    let globals = &cli.globals;
    match &cli.command {
        Command::Claim(args) => args.ask(globals, nonce()),
        Command::Renew(args) => args.ask(globals, 77),
        Command::Complete(args) => args.ask(globals),
        Command::Release(args) => args.ask(globals),
        Command::Resolve(args) => args.ask(globals),
        Command::Get(args) => args.ask(globals),
        Command::Forget(args) => args.ask(globals, args.token.unwrap()),
        other => panic!("no request: {other:?}"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn a_claim() {
    let Ask::Claim(claim) =
        ask("hapax claim payments.charge order-1 --tenant acme/m-1 --lease 30s --wait 1m --value 12.34EUR")
            .unwrap()
    else {
        panic!()
    };
    assert_eq!(format!("{:?}", claim.address), "acme/m-1:payments.charge:order-1");
    assert_eq!((claim.lease_ms, claim.wait_ms, claim.nonce), (Some(30_000), 60_000, nonce()));
    assert_eq!(claim.value.unwrap().minor_units(), 1234);
    let empty_body = hapax_client::fingerprint::bytes(b"");
    assert_eq!(claim.fingerprint, Some(empty_body), "no body is the empty body");
    let digits = "0f".repeat(32);
    let line = format!("hapax claim op k --fingerprint {digits} --nonce {}", "01".repeat(16));
    let Ask::Claim(claim) = ask(&line).unwrap() else { panic!() };
    assert_eq!(claim.fingerprint, Some(Fingerprint { algorithm: 1, digest: [0x0f; 32] }));
    assert_eq!(claim.nonce.as_bytes(), &[1; 16]);
}

#[test]
fn a_body_is_fingerprinted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"abc").unwrap();
    let path = file.path().display();
    let Ask::Claim(claim) = ask(&format!("hapax claim op k --body {path}")).unwrap() else { panic!() };
    assert_eq!(claim.fingerprint, Some(hapax_client::fingerprint::bytes(b"abc")));
    let Ask::Complete(complete) = ask(&format!(
        "hapax complete op k --token 5 --outcome rejected --result {path} --status 402 --retention 1h"
    ))
    .unwrap() else {
        panic!()
    };
    assert_eq!(complete.outcome.class.name(), "rejected");
    assert_eq!(complete.outcome.result.as_slice(), b"abc");
    assert_eq!((complete.outcome.metadata.status, complete.retention_ms), (Some(402), Some(3_600_000)));
    let clash = parse(&format!("hapax claim op k --body {path} --fingerprint {}", "00".repeat(32)));
    assert_eq!(clash.unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn holders_verbs() {
    let Ask::Renew(renew) = ask("hapax renew op k --token 5 --mark").unwrap() else { panic!() };
    assert_eq!((renew.token.as_u64(), renew.seq, renew.mark), (5, 77, true));
    assert!(renew.checkpoint.is_none(), "an absent checkpoint keeps the old one");
    let Ask::Release(release) = ask("hapax release op k --token 5 --reason down").unwrap() else { panic!() };
    assert_eq!(release.reason.unwrap().as_str(), "down");
    let Ask::Complete(complete) = ask("hapax complete op k --token 5").unwrap() else { panic!() };
    assert_eq!(complete.outcome.class.name(), "success");
}

#[test]
fn operators_verbs() {
    let Ask::Resolve(resolve) = ask("hapax resolve op k --token 5 --release --reason x").unwrap() else {
        panic!()
    };
    assert!(resolve.outcome.is_none());
    let Ask::Resolve(resolve) = ask("hapax resolve op k --token 5 --complete success --reason x").unwrap()
    else {
        panic!()
    };
    assert_eq!(resolve.outcome.unwrap().class.name(), "success");
    let Ask::Forget(forget) = ask("hapax forget op k --token 5 --reset --reason x").unwrap() else {
        panic!()
    };
    assert_eq!(forget.mode, hapax_core::command::ForgetMode::Reset);
    assert!(!forget.force);
    let Command::List(list) = parse("hapax list op --state in_doubt").unwrap().command else { panic!() };
    assert_eq!((list.state, list.limit), (Some(hapax_core::StateKind::InDoubt), 100));
}

#[test]
fn a_command_to_run_keeps_its_own_options() {
    let cli =
        parse("hapax run jobs.nightly 2026-11-24 --lease 1m --json -- backup --json --timeout 5 x").unwrap();
    let Command::Run(run) = cli.command else { panic!() };
    assert_eq!(run.command, ["backup", "--json", "--timeout", "5", "x"]);
    assert!(cli.globals.json);
    assert_eq!(cli.globals.timeout.as_secs(), 10);
}

#[test]
fn options_may_stand_before_and_after_the_command() {
    for line in ["hapax --json --timeout 3s get op k", "hapax get op k --json --timeout 3s"] {
        let globals = parse(line).unwrap().globals;
        assert!(globals.json && globals.timeout.as_secs() == 3, "{line}");
    }
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    for line in [
        "hapax",
        "hapax frobnicate",
        "hapax claim",
        "hapax claim op",
        "hapax claim OP k",
        "hapax claim op k --tenant A",
        "hapax claim op k --lease 30",
        "hapax claim op k --value 12.345EUR",
        "hapax claim op k --nonce 00",
        "hapax claim op k --fingerprint abc",
        "hapax renew op k",
        "hapax renew op k --token x",
        "hapax complete op k --token 1 --outcome maybe",
        "hapax resolve op k --token 1 --reason x",
        "hapax resolve op k --token 1 --release --complete success --reason x",
        "hapax resolve op k --token 1 --release",
        "hapax resolve op k --token 1 --release --result f --reason x",
        "hapax forget op k",
        "hapax list op --state doubt",
        "hapax list op --limit 0",
        "hapax run op k",
        "hapax run op k --",
        "hapax dev --nodes 2",
        "hapax dev --engine lmdb",
        "hapax dev --shards 0",
        "hapax dev --base-port 65530",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("accepted: {line}"));
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
    assert_eq!(parse("hapax --help").unwrap_err().exit_code(), 0);
}

#[test]
fn help_teaches_by_example() {
    for name in ["claim", "complete", "run", "resolve", "dev", "server", "status", "list"] {
        let help = parse(&format!("hapax {name} --help")).unwrap_err().to_string();
        assert!(help.contains("Example"), "{name}");
    }
}
