//! Whatever batches decode are applied.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("batch_apply").run)(input, &mut hapax_fuzz::Seen::default());
});
