//! All randomness of the process, from seeds.
//!
//! Contract: on a thread that called [`own`], everything that asks the operating system for
//! randomness gets a stream that only the seed decides: the keys of hash maps, openraft's election
//! timeouts, nonces. Other threads get the system's. A seed runs on a thread of its own, so that
//! what libraries keep per thread begins anew with it.

use crate::random::Random;
use hapax_raft::env::Entropy;
use parking_lot::Mutex;
use std::cell::RefCell;

thread_local! {
    static STREAM: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// From now on this thread's randomness follows from `seed`.
pub fn own(seed: u64) {
    STREAM.with(|stream| *stream.borrow_mut() = Some(Random::new(seed)));
}

/// The libc function of this name, in this program: what `std`, `getrandom` and thus everything
/// calls.
///
/// # Safety
/// As of the original: `buffer` must be valid for writes of `len` bytes.
#[expect(
    unsafe_code,
    reason = "the symbol of libc can only be taken over this way; nothing else may use unsafe"
)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    if buffer.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: the caller vouches for the buffer, which is written before it is read.
    let bytes = unsafe {
        std::ptr::write_bytes(buffer, 0, len);
        std::slice::from_raw_parts_mut(buffer, len)
    };
    let seeded = STREAM.try_with(|stream| match stream.try_borrow_mut().as_deref_mut() {
        Ok(Some(random)) => {
            random.fill(bytes);
            true
        }
        _ => false,
    });
    if seeded.unwrap_or(false) {
        return isize::try_from(len).unwrap_or(isize::MAX);
    }
    match rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(read) => isize::try_from(read).unwrap_or(isize::MAX),
        Err(_) => -1,
    }
}

/// The randomness that a node or a client is given.
#[derive(Debug)]
pub struct Seeded(Mutex<Random>);

impl Seeded {
    /// A stream of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Random::new(seed)))
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill(bytes);
    }
}

impl hapax_client::env::Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.0.lock().fill(bytes);
        Ok(())
    }
}
