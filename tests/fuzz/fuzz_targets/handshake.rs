//! The first frames of any connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("handshake").run)(input, &mut hapax_fuzz::Seen::default());
});
