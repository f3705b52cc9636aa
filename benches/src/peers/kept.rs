//! What stores of plain bytes keep under a key: who runs it, or what it gave, told apart by the first byte.

use crate::load::store::Claimed;
use bytes::Bytes;

const RUNNING: u8 = b'r';
const DONE: u8 = b'd';

/// That `caller` runs it.
pub(super) fn running(caller: &[u8; 16]) -> Bytes {
    [&[RUNNING], caller.as_slice()].concat().into()
}

/// That it gave `result`.
pub(super) fn done(result: &[u8]) -> Bytes {
    [&[DONE], result].concat().into()
}

/// What a claim or a read finds.
pub(super) fn found<T>(kept: Option<Bytes>) -> Claimed<T> {
    match kept {
        Some(kept) if kept.first() == Some(&RUNNING) => Claimed::Running,
        Some(kept) if kept.first() == Some(&DONE) => Claimed::Done(kept.slice(1..)),
        Some(_) => Claimed::Other("holds something else".to_owned()),
        None => Claimed::Other("is not there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found() {
        assert_eq!(found::<()>(Some(running(&[7; 16]))), Claimed::Running);
        assert_eq!(found::<()>(Some(done(b"result"))), Claimed::Done(Bytes::from_static(b"result")));
        for nothing in [None, Some(Bytes::new()), Some(Bytes::from_static(b"x"))] {
            assert!(matches!(found::<()>(nothing), Claimed::Other(_)));
        }
    }
}
