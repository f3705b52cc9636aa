//! Log time: what a leader stamps on its entries.

pub mod poll;
pub mod readings;
pub mod stamp;
