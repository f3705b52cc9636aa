//! What all commands share: options that stand anywhere, and how a record is named.

use super::input;
use super::values;
use anyhow::Context as _;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _, ValueParser};
use hapax_core::outcome::{Metadata, Outcome, OutcomeClass};
use hapax_core::{Address, Blob, Fingerprint, Key, Operation, Reason, Tenant, Token, limits};
use std::path::PathBuf;
use std::time::Duration;

/// Nodes to begin with, `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(pub(super) Vec<String>);

fn seeds(text: &str) -> Result<Seeds, String> {
    values::cluster(text).map(Seeds)
}

/// Options that stand anywhere before a `--`.
#[derive(Args, Clone, Debug)]
pub(super) struct Globals {
    /// Nodes to begin with, HOST:PORT,…; a port alone is on the host before it
    #[arg(
        long,
        global = true,
        env = "HAPAX_CLUSTER",
        value_name = "HOST:PORT,…",
        default_value = "127.0.0.1:7401,7402,7403",
        value_parser = seeds,
        help_heading = "Everywhere"
    )]
    pub(super) cluster: Seeds,
    /// Whose records: 1 to 4 segments joined by '/'
    #[arg(
        long,
        global = true,
        env = "HAPAX_TENANT",
        value_name = "TENANT",
        default_value = "default",
        value_parser = tenant,
        help_heading = "Everywhere"
    )]
    pub(super) tenant: Tenant,
    /// Print one JSON object
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
    /// How long the command may take in all; a --wait comes on top
    #[arg(
        long,
        global = true,
        value_name = "SPAN",
        default_value = "10s",
        value_parser = values::duration,
        help_heading = "Everywhere"
    )]
    pub(super) timeout: Duration,
}

/// The record.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// What is done once: payments.charge
    #[arg(value_name = "OPERATION", value_parser = operation)]
    pub(super) operation: Operation,
    /// The idempotency key: any 1 to 255 bytes
    #[arg(value_name = "KEY", value_parser = key())]
    pub(super) key: Key,
}

impl Target {
    /// The record's address.
    pub(super) fn address(&self, globals: &Globals) -> Address {
        Address::new(&globals.tenant, &self.operation, &self.key)
    }
}

/// What makes the request the same.
#[derive(Args, Clone, Debug)]
pub(super) struct Print {
    /// The SHA-256 of the request body as 64 hex digits (or json:HEX, opaque:HEX for other algorithms)
    #[arg(long, value_name = "HEX", value_parser = values::fingerprint, conflicts_with = "body")]
    pub(super) fingerprint: Option<Fingerprint>,
    /// The request body, from a file or '-' for standard input: its SHA-256 is the fingerprint
    #[arg(long, value_name = "FILE|-")]
    pub(super) body: Option<PathBuf>,
}

impl Print {
    /// The fingerprint, where one is given.
    pub(super) fn given(&self) -> anyhow::Result<Option<Fingerprint>> {
        match (&self.fingerprint, &self.body) {
            (Some(fingerprint), _) => Ok(Some(*fingerprint)),
            (None, Some(path)) => {
                Ok(Some(hapax_client::fingerprint::bytes(&input::read(path, input::BODY_BYTES, "--body")?)))
            }
            (None, None) => Ok(None),
        }
    }

    /// The fingerprint to claim with: of an empty body where none is given, so that a claim without
    /// a body is the same request each time.
    pub(super) fn to_claim(&self) -> anyhow::Result<Fingerprint> {
        Ok(self.given()?.unwrap_or_else(|| hapax_client::fingerprint::bytes(b"")))
    }
}

/// The holder's token.
#[derive(Args, Clone, Debug)]
pub(super) struct Held {
    /// The token that the claim was granted under
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(super) token: Token,
}

/// What describes a result.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct About {
    /// The result, from a file or '-' for standard input; empty where absent
    #[arg(long, value_name = "FILE|-")]
    pub(super) result: Option<PathBuf>,
    /// The media type of the result
    #[arg(long, value_name = "TYPE")]
    pub(super) content_type: Option<String>,
    /// A status number to keep with the result: an HTTP status, an exit status
    #[arg(long, value_name = "NUMBER")]
    pub(super) status: Option<u16>,
    /// A header to keep with the result; may be given more than once
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,
    /// How long the result is replayed; the policy's for its class where absent
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(super) retention: Option<Duration>,
}

impl About {
    /// The outcome of this class.
    pub(super) fn outcome(&self, class: OutcomeClass) -> anyhow::Result<Outcome> {
        let result = match &self.result {
            Some(path) => input::read(path, limits::RESULT_BYTES, "--result")?,
            None => Vec::new(),
        };
        let metadata = Metadata {
            content_type: self.content_type.clone(),
            status: self.status,
            headers: self.header.clone(),
        };
        Ok(Outcome { class, result: Blob::from(result), metadata })
    }

    /// The retention asked for.
    pub(super) fn retention_ms(&self) -> Option<u64> {
        self.retention.map(ms)
    }
}

/// A span in ms, as the protocol counts.
pub(super) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A reason, checked.
pub(super) fn reason(text: &str) -> anyhow::Result<Reason> {
    Reason::new(text).context("--reason")
}

pub(super) fn outcome_class(text: &str) -> Result<OutcomeClass, String> {
    [OutcomeClass::Success, OutcomeClass::Rejected, OutcomeClass::Error]
        .into_iter()
        .find(|class| class.name() == text)
        .ok_or_else(|| "success, rejected or error".to_owned())
}

pub(super) fn operation(text: &str) -> Result<Operation, String> {
    Operation::new(text).map_err(|invalid| invalid.to_string())
}

pub(super) fn token(text: &str) -> Result<Token, String> {
    text.parse::<u64>().map(Token::from).map_err(|_| "not a token: a whole number".to_owned())
}

/// The parser of keys: any bytes that the shell can pass.
pub(super) fn key() -> ValueParser {
    OsStringValueParser::new().try_map(values::key).into()
}

fn tenant(text: &str) -> Result<Tenant, String> {
    Tenant::new(text).map_err(|invalid| invalid.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("not NAME: VALUE")?;
    if name.trim().is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
