//! A damaged log is opened.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("log_open").run)(input, &mut hapax_fuzz::Seen::default());
});
