//! All ways of a cluster through the proxy, each direction of each pair by itself.

use super::proxy::{Direction, Link, Rule};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where bytes come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// All clients.
    Clients,
    /// A node, from 0.
    Node(usize),
}

/// From where to where.
pub type Way = (Place, Place);

/// The network between the nodes, and between them and their clients.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    directions: BTreeMap<Way, Arc<Direction>>,
    links: BTreeMap<Way, Link>,
}

impl Network {
    /// Opens a link for every pair, all on `host`; `peers` and `clients` are where the nodes listen.
    ///
    /// # Errors
    /// When there are no ports.
    pub async fn open(host: &str, peers: &[String], clients: &[String]) -> Result<Self> {
        let places = || std::iter::once(Place::Clients).chain((0..peers.len()).map(Place::Node));
        let mut directions = BTreeMap::new();
        for from in places() {
            for to in places().filter(|to| *to != from) {
                directions.insert((from, to), Arc::new(Direction::default()));
            }
        }
        let mut links = BTreeMap::new();
        for from in places() {
            for (node, peer) in peers.iter().enumerate() {
                let to = Place::Node(node);
                if from != to {
                    let target = if from == Place::Clients { &clients[node] } else { peer };
                    let ways = (Arc::clone(&directions[&(from, to)]), Arc::clone(&directions[&(to, from)]));
                    links.insert((from, to), Link::open(host, target.clone(), ways.0, ways.1).await?);
                }
            }
        }
        Ok(Self { nodes: peers.len(), directions, links })
    }

    /// Where `from` dials instead of `to`.
    #[must_use]
    pub fn addr(&self, from: Place, to: usize) -> &str {
        self.links[&(from, Place::Node(to))].addr()
    }

    /// The link by which one dials another.
    #[must_use]
    pub fn link(&self, from: Place, to: usize) -> &Link {
        &self.links[&(from, Place::Node(to))]
    }

    /// A direction.
    #[must_use]
    pub fn direction(&self, way: Way) -> &Direction {
        &self.directions[&way]
    }

    /// The other nodes.
    pub fn others(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes).filter(move |other| *other != node)
    }

    /// Every direction from a node to the others.
    #[must_use]
    pub fn from(&self, node: usize) -> Vec<Way> {
        self.others(node).map(|other| (Place::Node(node), Place::Node(other))).collect()
    }

    /// Every direction from the others to a node.
    #[must_use]
    pub fn to(&self, node: usize) -> Vec<Way> {
        self.others(node).map(|other| (Place::Node(other), Place::Node(node))).collect()
    }

    /// Both.
    #[must_use]
    pub fn around(&self, node: usize) -> Vec<Way> {
        [self.from(node), self.to(node)].concat()
    }

    /// Between the clients and a node.
    #[must_use]
    pub fn clients_of(node: usize) -> [Way; 2] {
        [(Place::Clients, Place::Node(node)), (Place::Node(node), Place::Clients)]
    }

    /// The links between a node and the others, both who dials whom.
    pub fn links_of(&self, node: usize) -> impl Iterator<Item = &Link> {
        let place = Place::Node(node);
        let of = move |way: &&Way| (way.0 == place || way.1 == place) && way.0 != Place::Clients;
        self.links.iter().filter(move |(way, _)| of(way)).map(|(_, link)| link)
    }

    /// Changes what is ordered for some directions.
    pub fn change(&self, ways: &[Way], change: impl Fn(&mut Rule)) {
        for way in ways {
            self.directions[way].change(&change);
        }
    }

    /// Cuts some directions.
    pub fn cut(&self, ways: &[Way]) {
        self.change(ways, |rule| rule.cuts += 1);
    }

    /// Ends one cut of each.
    pub fn mend(&self, ways: &[Way]) {
        self.change(ways, |rule| rule.cuts = rule.cuts.saturating_sub(1));
    }

    /// Takes back everything.
    pub fn heal(&self) {
        for direction in self.directions.values() {
            direction.change(|rule| *rule = Rule::default());
        }
        for link in self.links.values() {
            link.repeat(false);
            link.damage_snapshots(false);
        }
    }

    /// Bytes that came and that passed, of some directions together.
    #[must_use]
    pub fn traffic(&self, ways: &[Way]) -> Traffic {
        let sum = |of: fn(&Direction) -> u64| ways.iter().map(|way| of(&self.directions[way])).sum();
        Traffic {
            arrived: sum(Direction::arrived),
            passed: sum(Direction::passed),
            delayed: sum(Direction::delayed),
            slowed: sum(Direction::slowed),
            swallowed: sum(Direction::swallowed),
        }
    }
}

/// Counts of some directions together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that came to the proxy.
    pub arrived: u64,
    /// Bytes that passed.
    pub passed: u64,
    /// Bytes that were delayed.
    pub delayed: u64,
    /// Bytes that were slowed down.
    pub slowed: u64,
    /// Ends that were not told.
    pub swallowed: u64,
}
