//! Server processes under load: started in a directory of their own, measured, and ended.

pub mod etcd;
pub mod hapax;
pub mod nats;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod usage;
