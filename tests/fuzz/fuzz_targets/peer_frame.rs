//! Frames between nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("peer_frame").run)(input, &mut hapax_fuzz::Seen::default());
});
