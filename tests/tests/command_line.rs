//! The command line against a cluster: every subcommand, its exit status, its JSON fields.

use anyhow::{Context as _, Result, ensure};
use hapax_tests::{Hapax, Ran, Spec, TestCluster, program};
use serde_json::Value;

const FIRST_NONCE: &str = "000102030405060708090a0b0c0d0e0f";

/// Runs with `--json` and checks the exit status and the reply's name.
async fn json(hapax: &Hapax, arguments: &[&str], status: i32, reply: &str) -> Result<Value> {
    json_with(hapax, b"", arguments, status, reply).await
}

async fn json_with(
    hapax: &Hapax,
    input: &[u8],
    arguments: &[&str],
    status: i32,
    reply: &str,
) -> Result<Value> {
    let arguments = [arguments, &["--json"]].concat();
    let ran = hapax.run_with(input, &arguments).await?;
    ensure!(ran.status == status, "{arguments:?} ended with {} instead of {status}: {ran:?}", ran.status);
    let json = ran.json()?;
    ensure!(json["reply"] == reply, "{arguments:?} was answered with {json}");
    Ok(json)
}

fn text(json: &Value, field: &str) -> Result<String> {
    Ok(json[field].as_str().with_context(|| format!("no text {field} in {json}"))?.to_owned())
}

fn number(json: &Value, field: &str) -> Result<u64> {
    json[field].as_u64().with_context(|| format!("no number {field} in {json}"))
}

fn check_witness(json: &Value) -> Result<()> {
    let witness = &json["witness"];
    ensure!(number(witness, "shard")? < 16 && number(witness, "index")? > 0, "{json}");
    ensure!(number(witness, "time_ms")? > 1_700_000_000_000, "{json}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_granted_completed_and_replayed() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let hapax = cluster.command();
    let claim = ["claim", "payments.charge", "order-1", "--value", "12.34EUR", "--nonce", FIRST_NONCE];
    let granted = json(&hapax, &claim, 0, "granted").await?;
    let token = text(&granted, "token")?;
    ensure!(token.parse::<u64>()? > 0 && number(&granted, "attempt")? == 1, "{granted}");
    ensure!(number(&granted, "lease_ms")? == 30_000 && granted["takeover"] == false, "{granted}");
    check_witness(&granted)?;

    let recovered = json(&hapax, &claim, 0, "granted").await?;
    ensure!(text(&recovered, "token")? == token && recovered["recovered"] == true, "{recovered}");
    ensure!(number(&recovered, "lease_left_ms")? <= 30_000, "{recovered}");

    let in_flight = json(&hapax, &["claim", "payments.charge", "order-1"], 11, "in_flight").await?;
    ensure!(number(&in_flight, "attempt")? == 1 && number(&in_flight, "retry_after_ms")? > 0, "{in_flight}");
    check_witness(&in_flight)?;

    let other = ["claim", "payments.charge", "order-1", "--body", "-"];
    json_with(&hapax, b"another request", &other, 13, "mismatch").await?;
    let ancient = ["claim", "payments.charge", "order-of-old", "--first-sent", "1000"];
    json(&hapax, &ancient, 18, "too_old").await?;

    let renew =
        ["renew", "payments.charge", "order-1", "--token", &token, "--lease", "1m", "--checkpoint", "-"];
    let renewed = json_with(&hapax, b"half way", &renew, 0, "renewed").await?;
    ensure!(number(&renewed, "deadline_ms")? > 0 && renewed["marked"] == false, "{renewed}");
    json(&hapax, &["renew", "payments.charge", "order-1", "--token", "1"], 15, "fenced").await?;

    let complete = [
        "complete",
        "payments.charge",
        "order-1",
        "--token",
        &token,
        "--outcome",
        "success",
        "--result",
        "-",
        "--content-type",
        "text/plain",
        "--status",
        "201",
        "--header",
        "x-receipt: 7",
    ];
    let completed = json_with(&hapax, b"receipt 7\n", &complete, 0, "completed").await?;
    ensure!(number(&completed, "expires_at_ms")? > 0 && completed["late"] == false, "{completed}");
    json_with(&hapax, b"receipt 7\n", &complete, 0, "already_completed").await?;
    json_with(&hapax, b"receipt 8\n", &complete, 16, "conflict").await?;

    let replayed = json(&hapax, &["claim", "payments.charge", "order-1"], 10, "replayed").await?;
    ensure!(replayed["result"] == "receipt 7\n" && replayed["result_encoding"] == "utf-8", "{replayed}");
    ensure!(replayed["outcome"] == "success" && replayed["metadata"]["status"] == 201, "{replayed}");
    ensure!(replayed["metadata"]["content_type"] == "text/plain", "{replayed}");
    ensure!(number(&replayed, "attempt")? == 1 && number(&replayed, "completed_at_ms")? > 0, "{replayed}");
    check_witness(&replayed)?;

    let got = json(&hapax, &["get", "payments.charge", "order-1"], 0, "state").await?;
    ensure!(got["state"] == "completed" && text(&got, "token")? == token, "{got}");
    ensure!(got["result"] == "receipt 7\n" && got["value"] == "12.34EUR", "{got}");
    let absent = json(&hapax, &["get", "payments.charge", "order-2"], 0, "state").await?;
    ensure!(absent["state"] == "absent", "{absent}");

    let for_people = hapax.run(&["claim", "payments.charge", "order-1"]).await?;
    ensure!(for_people.status == 10 && for_people.text().contains("receipt 7"), "{for_people:?}");
    let other_tenant = ["claim", "payments.charge", "order-1", "--tenant", "acme/shop"];
    json(&hapax, &other_tenant, 0, "granted").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_no_text_are_base64() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hapax = cluster.command();
    let token = text(&json(&hapax, &["claim", "o", "k"], 0, "granted").await?, "token")?;
    let complete = ["complete", "o", "k", "--token", &token, "--outcome", "rejected", "--result", "-"];
    json_with(&hapax, b"\x00\xff\xfe", &complete, 0, "completed").await?;
    let replayed = json(&hapax, &["claim", "o", "k"], 10, "replayed").await?;
    ensure!(replayed["result"] == "AP/+" && replayed["result_encoding"] == "base64", "{replayed}");
    ensure!(replayed["outcome"] == "rejected", "{replayed}");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lets_the_next_claim_take_over() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hapax = cluster.command();
    let claim = ["claim", "o", "k", "--nonce", FIRST_NONCE];
    let first = json(&hapax, &claim, 0, "granted").await?;
    let token = text(&first, "token")?;
    let release = ["release", "o", "k", "--token", &token, "--reason", "the network is down"];
    json(&hapax, &release, 0, "released").await?;
    let ended = json(&hapax, &claim, 17, "ended").await?;
    ensure!(ended["cause"] == "released", "{ended}");
    let next = json(&hapax, &["claim", "o", "k"], 0, "granted").await?;
    ensure!(number(&next, "attempt")? == 2 && next["takeover"] == true, "{next}");
    ensure!(text(&next, "token")?.parse::<u64>()? > token.parse()?, "{next}");
    let late = ["complete", "o", "k", "--token", &token];
    json(&hapax, &late, 15, "fenced").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_doubt_is_listed_and_resolved() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hapax = cluster.command();
    let token = text(&json(&hapax, &["claim", "o", "k", "--lease", "1s"], 0, "granted").await?, "token")?;
    let renew = ["renew", "o", "k", "--token", &token, "--lease", "1s", "--mark"];
    let renewed = json(&hapax, &renew, 0, "renewed").await?;
    ensure!(renewed["marked"] == true, "{renewed}");
    let waited = json(&hapax, &["get", "o", "k", "--wait", "20s"], 0, "state").await?;
    ensure!(waited["state"] == "in_doubt" && waited["marked"] == true, "{waited}");
    let doubt = json(&hapax, &["claim", "o", "k"], 12, "in_doubt").await?;
    ensure!(text(&doubt, "token")? == token && number(&doubt, "since_ms")? > 0, "{doubt}");
    let listed = json(&hapax, &["list", "o", "--state", "in_doubt"], 0, "page").await?;
    ensure!(listed["rows"][0]["key"] == "k" && listed["more"] == false, "{listed}");
    let resolve = |outcome: &'static str| {
        ["resolve", "o", "k", "--token", &token, "--complete", outcome, "--reason", "it is in the ledger"]
            .map(str::to_owned)
    };
    let resolve_ok = resolve("success");
    let resolve_ok: Vec<&str> = resolve_ok.iter().map(String::as_str).collect();
    json(&hapax, &resolve_ok, 0, "resolved").await?;
    json(&hapax, &resolve_ok, 0, "resolved").await?;
    let otherwise = resolve("rejected");
    let otherwise: Vec<&str> = otherwise.iter().map(String::as_str).collect();
    json(&hapax, &otherwise, 1, "not_in_doubt").await?;
    let replayed = json(&hapax, &["claim", "o", "k"], 10, "replayed").await?;
    ensure!(replayed["outcome"] == "success", "{replayed}");
    let got = json(&hapax, &["get", "o", "k"], 0, "state").await?;
    ensure!(got["resolution"]["reason"] == "it is in the ledger", "{got}");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_spent_and_what_is_reset_is_gone() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hapax = cluster.command();
    let token = text(&json(&hapax, &["claim", "o", "k"], 0, "granted").await?, "token")?;
    let forget = ["forget", "o", "k", "--reason", "erasure request"];
    json(&hapax, &forget, 1, "changed").await?;
    json_with(&hapax, b"secret", &["complete", "o", "k", "--token", &token, "--result", "-"], 0, "completed")
        .await?;
    let stale = ["forget", "o", "k", "--token", "1", "--reason", "an old view"];
    json(&hapax, &stale, 1, "changed").await?;
    json(&hapax, &forget, 0, "forgotten").await?;
    let spent = json(&hapax, &["claim", "o", "k"], 14, "spent").await?;
    ensure!(spent["outcome"] == "success" && !spent.to_string().contains("secret"), "{spent}");
    json(&hapax, &["forget", "o", "k", "--reset", "--reason", "test data"], 0, "forgotten").await?;
    let again = json(&hapax, &["claim", "o", "k"], 0, "granted").await?;
    ensure!(
        number(&again, "attempt")? == 1 && text(&again, "token")?.parse::<u64>()? > token.parse()?,
        "{again}"
    );
    let forced = ["forget", "o", "k", "--reset", "--force", "--reason", "stuck"];
    json(&hapax, &forced, 0, "forgotten").await?;
    json(&hapax, &["renew", "o", "k", "--token", &text(&again, "token")?], 15, "fenced").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_nodes_shards_and_leaders() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let hapax = cluster.command();
    json(&hapax, &["claim", "o", "k"], 0, "granted").await?;
    let ran = hapax.run(&["status", "--json"]).await?;
    let status = ran.json()?;
    ensure!(ran.status == 0 && status["healthy"] == true, "{status}");
    let nodes = status["nodes"].as_array().context("no nodes")?;
    ensure!(
        nodes.len() == 3 && nodes.iter().all(|node| node["up"] == true && node["engine"] == "fjall"),
        "{status}"
    );
    let shards = status["shards"].as_array().context("no shards")?;
    ensure!(shards.len() == 16 && shards.iter().all(|shard| shard["leader"].is_string()), "{status}");
    let text = hapax.run(&["status"]).await?.text();
    ensure!(text.contains("NODE") && text.contains("SHARD") && text.contains("node-3"), "{text}");
    cluster.kill(2)?;
    let ran = hapax.run(&["status", "--json"]).await?;
    ensure!(ran.status == 1 && ran.json()?["healthy"] == false, "{ran:?}");
    cluster.finish()
}

fn names(ran: &Ran, what: &str) -> Result<()> {
    ensure!(ran.stderr.contains(what), "{what} is not named: {}", ran.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_told_by_the_argument() -> Result<()> {
    // Nothing listens there: none of these may come so far as to try.
    let hapax = Hapax::new(program!().as_ref(), "127.0.0.1:9");
    let long = "k".repeat(256);
    let wrong: [(&[&str], &str); 9] = [
        (&["claim", "UPPER", "k"], "OPERATION"),
        (&["claim", "o", &long], "KEY"),
        (&["claim", "o", "k", "--lease", "soon"], "--lease"),
        (&["claim", "o", "k", "--nonce", "00"], "--nonce"),
        (&["claim", "o", "k", "--value", "12.345EUR"], "--value"),
        (&["claim", "o", "k", "--tenant", "a//b"], "--tenant"),
        (&["complete", "o", "k", "--token", "x"], "--token"),
        (&["resolve", "o", "k", "--token", "1", "--reason", "r"], "--complete"),
        (&["run", "o", "k"], "COMMAND"),
    ];
    for (arguments, named) in wrong {
        let ran = hapax.run(arguments).await?;
        ensure!(ran.status == 2, "{arguments:?}: {ran:?}");
        names(&ran, named)?;
    }
    let help = hapax.run(&["--help"]).await?;
    ensure!(help.status == 0 && help.text().contains("Exit status"), "{help:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cluster_is_an_error_with_its_code() -> Result<()> {
    let hapax = Hapax::new(program!().as_ref(), "127.0.0.1:9");
    let error = json(&hapax, &["claim", "o", "k", "--timeout", "500ms"], 1, "error").await?;
    ensure!(error["error"]["code"] == "unavailable" && error["error"]["definite"] == true, "{error}");
    ensure!(error["error"]["number"].is_number() && error["error"]["text"].is_string(), "{error}");
    let ran = hapax.run(&["claim", "o", "k", "--timeout", "500ms"]).await?;
    ensure!(ran.status == 1 && ran.stdout.is_empty(), "{ran:?}");
    names(&ran, "unavailable")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_named() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hapax = cluster.command();
    let token = text(&json(&hapax, &["claim", "o", "k"], 0, "granted").await?, "token")?;
    let complete = ["complete", "o", "k", "--token", &token, "--result", "-"];
    let ran = hapax.run_with(&vec![b'x'; 256 * 1024 + 1], &complete).await?;
    ensure!(ran.status == 1, "{ran:?}");
    names(&ran, "--result")?;
    let renew = ["renew", "o", "k", "--token", &token, "--checkpoint", "-"];
    let ran = hapax.run_with(&vec![b'x'; 4097], &renew).await?;
    ensure!(ran.status == 1, "{ran:?}");
    names(&ran, "--checkpoint")?;
    json_with(&hapax, &vec![b'x'; 256 * 1024], &complete, 0, "completed").await?;
    cluster.finish()
}
