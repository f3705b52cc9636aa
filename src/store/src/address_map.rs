//! Maps by address for the hot paths, and how addresses are hashed.
//!
//! Addresses of one operation begin alike, so that an ordered map compares a long prefix at each of its levels, and the
//! standard hasher takes longer than the look-up. Keys are chosen by callers: the seed is drawn by each process.
//! Contract: nothing may depend on the order in which these maps are gone through; whoever needs an order sorts.

use hapax_core::Address;
use std::collections::{HashMap, HashSet};

/// How maps hash addresses.
pub type MapHash = foldhash::fast::RandomState;

/// How filters do, which need each bit of a hash to be as good as the others.
pub type FilterHash = foldhash::quality::RandomState;

/// Values by address.
pub type AddressMap<V> = HashMap<Address, V, MapHash>;

/// A set of addresses, or of references to them.
pub type AddressSet<A = Address> = HashSet<A, MapHash>;
