//! Log time: what a leader stamps on its entries.

pub mod begun;
pub mod keep;
pub mod poll;
pub mod readings;
pub mod stamp;
