//! The verbs, one file each: the rows of the protocol's tables, in their order.

pub(crate) mod claim;
pub(crate) mod complete;
pub(crate) mod forget;
pub(crate) mod get;
pub(crate) mod release;
pub(crate) mod renew;
pub(crate) mod resolve;

use crate::record::Record;
use crate::seeded::{self, Bug};
use crate::token::Token;
use crate::transition::Scene;

/// Whose a token is.
pub(crate) enum Owner<'a> {
    /// A shadow grant's.
    Shadow,
    /// Nobody's: there is no record.
    Absent,
    /// Another claim's than the record's last.
    Other,
    /// The record's last claim's.
    Own(&'a Record),
}

impl<'a> Scene<'a> {
    /// Whose `token` is here.
    pub(crate) fn owner(&self, token: Token) -> Owner<'a> {
        match self.found {
            _ if token.is_none() => Owner::Shadow,
            None => Owner::Absent,
            Some(record) if seeded::active(Bug::TokenCheckSkipped) || record.token == token => {
                Owner::Own(record)
            }
            Some(_) => Owner::Other,
        }
    }
}
