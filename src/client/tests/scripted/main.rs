//! The client against scripted nodes: what it sends, to whom, how often and when.

mod executing;
mod holder;
mod losing;
mod routing;
mod traffic;
mod trust;
mod world;
