//! Server processes under load: started in a directory of their own, measured, and ended.

pub mod etcd;
pub mod hapax;
pub mod http;
pub mod nats;
pub mod nodes;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod usage;
