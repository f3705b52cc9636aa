use super::*;
use hapax_core::prevented::Prevented;
use hapax_core::{ErrorCode, Event, Money, Nonce, Refusal, Reply, Token};

fn metrics() -> Metrics {
    Metrics::new("1.2.3").unwrap()
}

fn text(metrics: &Metrics) -> String {
    metrics.render(Families::new()).unwrap()
}

/// The value of one series, by its line's beginning.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no series {series}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn prevented(nonce: u8, value: Option<(u64, &[u8; 3])>) -> Prevented {
    Prevented {
        incarnation: Token::from(7),
        nonce: Nonce::try_from([nonce; 16]).unwrap(),
        value: value.map(|(units, currency)| Money::new(units, *currency).unwrap()),
    }
}

#[test]
fn operations_are_counted_by_verb_and_reply() {
    let metrics = metrics();
    metrics.operations.answered("claim", &Reply::TooOld, 1500);
    metrics.operations.answered("complete", &Reply::Fenced, 90);
    metrics.operations.answered("complete", &Reply::Fenced, 90);
    let text = text(&metrics);
    assert_eq!(value(&text, r#"hapax_operations_total{reply="too_old",verb="claim"}"#), 1.0);
    assert_eq!(value(&text, r#"hapax_operations_total{reply="fenced",verb="complete"}"#), 2.0);
    assert_eq!(value(&text, r#"hapax_operations_total{reply="granted",verb="claim"}"#), 0.0);
    let bucket = |bound| format!(r#"hapax_operation_duration_seconds_bucket{{verb="claim",le="{bound}"}}"#);
    assert_eq!(value(&text, &bucket("0.001")), 0.0);
    assert_eq!(value(&text, &bucket("0.002")), 1.0);
    assert_eq!(metrics.counts().operations, 3);
}

#[test]
fn errors_are_counted_by_code_and_certainty() {
    let metrics = metrics();
    let refusal = Refusal::indefinite(ErrorCode::Unavailable, "no quorum");
    metrics.operations.answered("claim", &Reply::Error(refusal), 10);
    let text = text(&metrics);
    assert_eq!(value(&text, r#"hapax_errors_total{code="unavailable",definite="false"}"#), 1.0);
    assert_eq!(value(&text, r#"hapax_errors_total{code="unavailable",definite="true"}"#), 0.0);
    assert_eq!(value(&text, r#"hapax_operations_total{reply="error",verb="claim"}"#), 1.0);
}

#[test]
fn every_reply_of_the_protocol_has_its_series() {
    // A reply without a series of its own would be made on the hot path.
    for (verb, reply) in [("claim", Reply::TooOld), ("renew", Reply::Ignored), ("forget", Reply::Changed)] {
        let series = format!(r#"hapax_operations_total{{reply="{}",verb="{verb}"}}"#, reply.name());
        assert_eq!(value(&text(&metrics()), &series), 0.0);
    }
}

#[test]
fn prevented_value_is_counted_where_it_was_not_yet() {
    let metrics = metrics();
    metrics.events.happened(&Event::Replay(prevented(1, Some((1234, b"EUR")))), true);
    metrics.events.happened(&Event::Replay(prevented(1, Some((1234, b"EUR")))), false);
    metrics.events.happened(&Event::DuplicateInFlight(prevented(2, Some((1000, b"EUR")))), true);
    metrics.events.happened(&Event::Replay(prevented(3, None)), true);
    let text = text(&metrics);
    assert_eq!(value(&text, r#"hapax_prevented_value_minor_units_total{currency="EUR"}"#), 2234.0);
    assert_eq!(value(&text, "hapax_prevented_runs_total"), 3.0);
    assert_eq!(value(&text, r#"hapax_events_total{event="replay"}"#), 3.0);
}

#[test]
fn currencies_are_bounded() {
    let metrics = metrics();
    for nonce in 1..=100u8 {
        let currency = [b'A' + nonce / 26, b'A' + nonce % 26, b'X'];
        metrics.events.happened(&Event::Replay(prevented(nonce, Some((1, &currency)))), true);
    }
    let text = text(&metrics);
    let series = text.lines().filter(|line| line.starts_with("hapax_prevented_value_minor_units_total{"));
    assert_eq!(series.count(), 33, "32 currencies and the rest");
    assert_eq!(value(&text, r#"hapax_prevented_value_minor_units_total{currency="other"}"#), 68.0);
}

#[test]
fn anomaly_signals_read_the_events() {
    let metrics = metrics();
    metrics.events.happened(&Event::Mismatch, false);
    metrics.events.happened(&Event::Takeover { prior_mark: true }, false);
    metrics.events.happened(&Event::Takeover { prior_mark: false }, false);
    metrics.events.happened(&Event::FencedComplete, false);
    metrics.events.happened(&Event::Fenced, false);
    metrics.events.happened(&Event::LateComplete, false);
    assert_eq!(metrics.counts().events, [1, 2, 2]);
}

#[test]
fn foreign_figures_are_part_of_the_text() {
    let mut levels = Families::new();
    levels.single(Kind::Counter, "hapax_log_syncs_total", "Syncs", 12.0);
    let samples = (0..2).map(|shard| (vec![("shard", shard.to_string())], 3.0));
    levels.labelled(Kind::Gauge, "hapax_shard_term", "Term", samples);
    levels.labelled(Kind::Gauge, "hapax_nothing", "Nothing", std::iter::empty());
    levels.histogram("hapax_log_sync_duration_seconds", "Syncs", &[(0.001, 5), (0.002, 2)], 1, 0.01);
    let text = metrics().render(levels).unwrap();
    assert!(text.contains("# TYPE hapax_log_syncs_total counter"));
    assert_eq!(value(&text, "hapax_log_syncs_total"), 12.0);
    assert_eq!(value(&text, r#"hapax_shard_term{shard="1"}"#), 3.0);
    assert!(!text.contains("hapax_nothing"));
    assert_eq!(value(&text, r#"hapax_log_sync_duration_seconds_bucket{le="0.002"}"#), 7.0);
    assert_eq!(value(&text, r#"hapax_log_sync_duration_seconds_bucket{le="+Inf"}"#), 8.0);
    assert_eq!(value(&text, "hapax_log_sync_duration_seconds_count"), 8.0);
}
