//! The small files of a node.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    (hapax_fuzz::targets::named("node_file").run)(input, &mut hapax_fuzz::Seen::default());
});
