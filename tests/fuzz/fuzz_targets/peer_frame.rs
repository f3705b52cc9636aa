//! Frames between nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hapax_fuzz::targets::peer_frame(input);
});
