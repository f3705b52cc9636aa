//! Frames between a client and a node.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("client_frame").run)(input, &mut hapax_fuzz::Seen::default());
});
