//! What is put is what is taken, for any message within its bounds.

use crate::strategies;
use bytes::BytesMut;
use hapax_wire::client::{Answer, Calls, Table};
use hapax_wire::limits::PEER_FRAME_BYTES;
use hapax_wire::peer::PeerFrame;
use hapax_wire::{Decoder, EncodeFault, Frame, Message};
use proptest::prelude::{any, prop_assert_eq, proptest};

/// The only frame in `bytes`.
pub(crate) fn only_frame(bytes: &[u8]) -> Frame {
    let mut decoder = Decoder::new(PEER_FRAME_BYTES);
    decoder.push(bytes);
    let frame = decoder.poll().unwrap().unwrap();
    assert!(!decoder.is_midway(), "bytes are left behind the frame");
    frame
}

fn framed(put: impl FnOnce(&mut BytesMut) -> Result<(), EncodeFault>) -> Frame {
    let mut out = BytesMut::new();
    put(&mut out).unwrap();
    only_frame(&out)
}

proptest! {
    #[test]
    fn calls(message in strategies::calls()) {
        prop_assert_eq!(Calls::take(&framed(|out| message.put(out))).unwrap(), message);
    }

    #[test]
    fn answers(message in strategies::answer()) {
        prop_assert_eq!(Answer::take(&framed(|out| message.put(out))).unwrap(), message);
    }

    #[test]
    fn tables(id in any::<u64>(), table in strategies::table()) {
        let message = Table { id, table };
        prop_assert_eq!(Table::take(&framed(|out| message.put(out))).unwrap(), message);
    }

    #[test]
    fn peers(message in strategies::peer_frame()) {
        prop_assert_eq!(PeerFrame::take(&framed(|out| message.put(out))).unwrap(), message);
    }
}
