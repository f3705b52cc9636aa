//! A configuration is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("config").run)(input, &mut hapax_fuzz::Seen::default());
});
