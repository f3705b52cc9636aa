//! How values become results and results values.

use crate::error::Error;
use hapax_core::{Blob, Invalid, Metadata};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A result as it is, for work that does not speak JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// The bytes, at most 256 KiB.
    pub result: Blob,
    /// What describes them, at most 8 KiB.
    pub metadata: Metadata,
}

impl<B: Into<Blob>> From<B> for Raw {
    fn from(result: B) -> Self {
        Self { result: result.into(), metadata: Metadata::default() }
    }
}

/// A value's two ways.
pub(super) struct Payload<T> {
    pub(super) encode: fn(&T) -> Result<(Blob, Metadata), Error>,
    pub(super) decode: fn(&Blob, &Metadata) -> Result<T, Error>,
}

pub(super) fn json<T: Serialize + DeserializeOwned>() -> Payload<T> {
    Payload {
        encode: |value| {
            let bytes = serde_json::to_vec(value).map_err(|_| Invalid::new("result", "has no json form"))?;
            let content_type = Some("application/json".to_owned());
            Ok((bytes.into(), Metadata { content_type, ..Metadata::default() }))
        },
        decode: |result, _| {
            let unlike = |_| Invalid::new("result", "is not the json of the type asked for").into();
            serde_json::from_slice(result.as_slice()).map_err(unlike)
        },
    }
}

pub(super) fn raw() -> Payload<Raw> {
    Payload {
        encode: |raw| Ok((raw.result.clone(), raw.metadata.clone())),
        decode: |result, metadata| Ok(Raw { result: result.clone(), metadata: metadata.clone() }),
    }
}
