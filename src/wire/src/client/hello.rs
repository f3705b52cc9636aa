//! The first frame of a client.

use crate::cluster::ClusterId;
use crate::codec::fields;
use crate::limits::{CREDENTIALS_BYTES, NAME_BYTES};
use crate::message::message;
use crate::version::Versions;
use hapax_core::Blob;

/// Who is there. Has the same bytes in every version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions that the client speaks.
    pub versions: Versions,
    /// The cluster that it means; any where absent.
    pub cluster: Option<ClusterId>,
    /// What it calls itself, for logs and status; at most 64 bytes.
    pub name: String,
    /// What shows who it is, once authentication is set; at most 2 KiB.
    pub credentials: Option<Blob>,
}
fields!(Hello { versions, cluster, name: NAME_BYTES, credentials: CREDENTIALS_BYTES });
message!(Hello, HELLO, HANDSHAKE_BYTES);
