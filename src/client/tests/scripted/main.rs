//! The client against scripted nodes: what it sends, to whom, how often and when.

mod routing;
mod traffic;
mod trust;
mod world;
