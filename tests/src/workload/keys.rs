//! The keys that a load is about, and what its workers know of each.
//!
//! Few keys are live at a time, so that workers meet on them; each is replaced after some dozens of
//! acts, and old ones come back now and then, long after their deadlines. One of which too many calls
//! were never answered is left alone for good: what may have become of it doubles with each of them.

use super::caller::UNKNOWN_MOST;
use super::policy::{FAMILIES, OPERATIONS, TENANTS};
use super::recorder::Recorder;
use super::rng::Rng;
use hapax_core::request::{ClaimAsk, CompleteAsk, RenewAsk, ResolveAsk};
use hapax_core::{Address, FieldDigest, Fields, Fingerprint, Key as KeyBytes, Operation, Tenant, Token};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What is remembered of each kind for one key.
const REMEMBERED: usize = 6;
/// Old keys that may come back.
const RETIRED: usize = 1024;
/// Acts on a key until it is replaced.
const ACTS: (u64, u64) = (12, 60);
/// How many keys of a thousand are old ones.
const RETURNING: u64 = 250;
/// Workers that act on one key at a time: all their calls may be lost at once.
const BUSY_MOST: u32 = 4;

/// One address and what happened to it as far as its callers know.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) address: Address,
    number: u64,
    /// Workers that act on it now.
    busy: AtomicU32,
    pub(super) known: Mutex<Known>,
}

/// A worker that acts on a key.
#[derive(Debug)]
pub(super) struct Acting(Arc<Key>);

impl Drop for Acting {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What workers left behind for others to say again.
#[derive(Debug, Default)]
pub(super) struct Known {
    acts_left: u64,
    pub(super) claims: VecDeque<ClaimAsk>,
    /// Tokens, each with the fingerprint that it was granted under.
    pub(super) tokens: VecDeque<(Token, Fingerprint)>,
    pub(super) renews: VecDeque<RenewAsk>,
    pub(super) completes: VecDeque<CompleteAsk>,
    pub(super) resolves: VecDeque<ResolveAsk>,
}

/// Remembers the latest few.
pub(super) fn remember<T>(items: &mut VecDeque<T>, item: T) {
    if items.len() == REMEMBERED {
        items.pop_front();
    }
    items.push_back(item);
}

/// One of those remembered.
pub(super) fn recall<T: Clone>(items: &VecDeque<T>, rng: &mut Rng) -> Option<T> {
    items.get(rng.index(items.len())).cloned()
}

impl Key {
    fn new(number: u64, family: usize, tenant: &str, operation: &str, rng: &mut Rng) -> Option<Self> {
        let tenant = Tenant::new(format!("{}/{tenant}", FAMILIES[family].name)).ok()?;
        let operation = Operation::new(operation).ok()?;
        let address = Address::new(&tenant, &operation, &KeyBytes::new(key_bytes(number)).ok()?);
        let known = Known { acts_left: rng.between(ACTS.0, ACTS.1), ..Known::default() };
        Some(Self { address, number, busy: AtomicU32::new(0), known: Mutex::new(known) })
    }

    /// Notes that somebody acts on it, until what is returned is dropped; nothing while enough others do.
    pub(super) fn act(self: &Arc<Self>) -> Option<Acting> {
        let free = |busy: u32| (busy < BUSY_MOST).then_some(busy + 1);
        self.busy.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        Some(Acting(Arc::clone(self)))
    }

    /// The fingerprint of the request that this key was made for.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.other_fingerprint(0)
    }

    /// That of another request under the same key: its digest differs in the last byte alone.
    pub(super) fn other_fingerprint(&self, other: u8) -> Fingerprint {
        let mut digest = [0x5a; 32];
        digest[..8].copy_from_slice(&self.number.to_le_bytes());
        digest[31] = other;
        Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest }
    }

    /// Digests of two fields, of which the second differs between fingerprints.
    pub(super) fn fields(&self, fingerprint: &Fingerprint) -> Fields {
        let field = |name: &str, digest| FieldDigest { name: name.to_owned(), digest };
        let payee = self.fingerprint().digest;
        Fields::new(vec![field("payee", payee), field("amount", fingerprint.digest)]).unwrap_or_default()
    }
}

/// Most keys are short text; some are the longest that there may be, and binary.
fn key_bytes(number: u64) -> Vec<u8> {
    if number % 97 == 96 {
        let filler = number.to_le_bytes();
        return filler.iter().copied().cycle().take(hapax_core::limits::KEY_BYTES).collect();
    }
    format!("order-{number}").into_bytes()
}

/// The keys of a load.
#[derive(Debug)]
pub(super) struct Keys {
    recorder: Arc<Recorder>,
    live: Vec<Mutex<Arc<Key>>>,
    retired: Mutex<VecDeque<Arc<Key>>>,
    next: AtomicU64,
}

impl Keys {
    /// So many live keys.
    pub(super) fn new(live: usize, recorder: Arc<Recorder>, rng: &mut Rng) -> Self {
        let (retired, next) = (Mutex::default(), AtomicU64::new(0));
        let mut keys = Self { recorder, live: Vec::new(), retired, next };
        while keys.live.len() < live.max(2) {
            let fresh = keys.fresh(rng).into_iter().map(Mutex::new);
            keys.live.extend(fresh);
        }
        keys
    }

    /// A new key number: the same operation and key under both tenants of a family.
    fn fresh(&self, rng: &mut Rng) -> Vec<Arc<Key>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let weights: Vec<(u64, usize)> =
            FAMILIES.iter().enumerate().map(|(i, family)| (family.weight, i)).collect();
        let family = rng.weighted(&weights).unwrap_or_default();
        let operation = OPERATIONS[rng.index(OPERATIONS.len())];
        let made = TENANTS.iter().filter_map(|tenant| Key::new(number, family, tenant, operation, rng));
        made.map(Arc::new).collect()
    }

    /// A key that nobody else acts on.
    pub(super) fn own(&self, rng: &mut Rng) -> Option<Arc<Key>> {
        self.fresh(rng).pop()
    }

    /// A key to act on: any live one, or a retired one.
    pub(super) fn pick(&self, rng: &mut Rng) -> Option<Arc<Key>> {
        let slot = rng.index(self.live.len());
        let key = Arc::clone(&self.live.get(slot)?.lock());
        let is_spoilt = self.is_spoilt(&key);
        let is_over = {
            let mut known = key.known.lock();
            known.acts_left = known.acts_left.saturating_sub(1);
            known.acts_left == 0
        };
        if is_over || is_spoilt {
            self.replace(slot, &key, rng);
        }
        if is_spoilt { self.live.get(slot).map(|next| Arc::clone(&next.lock())) } else { Some(key) }
    }

    /// Whether nobody knows any more what to expect of a key.
    fn is_spoilt(&self, key: &Key) -> bool {
        self.recorder.unknown(&key.address) >= UNKNOWN_MOST
    }

    /// A key that was live once.
    pub(super) fn old(&self, rng: &mut Rng) -> Option<Arc<Key>> {
        let key = {
            let retired = self.retired.lock();
            retired.get(rng.index(retired.len())).cloned()
        };
        key.filter(|key| !self.is_spoilt(key))
    }

    fn replace(&self, slot: usize, key: &Arc<Key>, rng: &mut Rng) {
        let returning = if rng.chance(RETURNING) { self.old(rng) } else { None };
        let next = match returning {
            Some(old) => {
                old.known.lock().acts_left = rng.between(ACTS.0, ACTS.1);
                old
            }
            None => match self.fresh(rng).into_iter().as_slice() {
                [one, others @ ..] => {
                    for (step, other) in (1..).zip(others) {
                        *self.live[(slot + step) % self.live.len()].lock() = Arc::clone(other);
                    }
                    Arc::clone(one)
                }
                [] => return,
            },
        };
        *self.live[slot].lock() = next;
        if self.is_spoilt(key) {
            return;
        }
        let mut retired = self.retired.lock();
        if retired.len() == RETIRED {
            retired.pop_front();
        }
        retired.push_back(Arc::clone(key));
    }
}
