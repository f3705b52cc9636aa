//! A damaged snapshot is received.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("snapshot_open").run)(input, &mut hapax_fuzz::Seen::default());
});
