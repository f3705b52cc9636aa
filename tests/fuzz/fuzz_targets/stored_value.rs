//! Records, applied states and batches as they are stored.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("stored_value").run)(input, &mut hapax_fuzz::Seen::default());
});
