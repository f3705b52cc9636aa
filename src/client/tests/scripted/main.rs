//! The client against scripted nodes: what it sends, to whom, how often and when.

mod examples;
mod executing;
mod holder;
mod losing;
mod model;
mod once;
mod routing;
mod traffic;
mod trust;
mod verbs;
mod world;
