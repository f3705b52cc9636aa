//! Which nodes keep which shard.
//!
//! Contract: a pure function of node names, zones, shard count and replication: every node computes
//! the same table, in any order of its configuration. Each shard has that many distinct nodes, in
//! distinct zones as far as there are enough; no node keeps more than its even share, rounded up;
//! the first of each row is the preferred leader, and the nodes' leader counts differ by as little
//! as the rows allow. When nodes come or go, most rows stay.
//!
//! The ring gives each shard its order of candidates. It has many points a node, hashed over bytes
//! that are written by hand (little-endian), since the standard hashing of numbers and strings
//! depends on platform and version.

use hashring::HashRing;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Points a node has on the ring.
const POINTS_PER_NODE: u32 = 128;

/// A node to place shards on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name: decides its points.
    pub name: String,
    /// Its failure domain; empty: a domain of its own.
    pub zone: String,
}

/// For each shard the nodes that keep it, as indexes into `sites`, the preferred leader first.
/// `replication` is clamped to the number of sites; without sites every row is empty.
#[must_use]
pub fn place(sites: &[Site], shards: u32, replication: u8) -> Vec<Vec<usize>> {
    let replication = usize::from(replication).min(sites.len());
    if replication == 0 {
        return vec![Vec::new(); shards as usize];
    }
    // By name, so that no tie is decided by the order of a configuration.
    let mut by_name: Vec<usize> = (0..sites.len()).collect();
    by_name.sort_by(|&a, &b| sites[a].name.cmp(&sites[b].name));
    let sorted: Vec<&Site> = by_name.iter().map(|&site| &sites[site]).collect();

    let ring = ring_of(&sorted);
    let share = (shards as usize * replication).div_ceil(sites.len());
    let mut held = vec![0; sites.len()];
    let mut table = Vec::with_capacity(shards as usize);
    for shard in 0..shards {
        let order = candidates(&ring, shard, sites.len());
        let row = pick(&sorted, &order, replication, share, &held);
        for &site in &row {
            held[site] += 1;
        }
        table.push(row);
    }
    even_out(&mut table, &sorted, &mut held, share);
    balance_leaders(&mut table, sites.len());
    for row in &mut table {
        for site in row {
            *site = by_name[*site];
        }
    }
    table
}

/// One point of a node on the ring.
#[derive(Clone, Debug)]
struct Point {
    site: usize,
    name: Arc<str>,
    number: u32,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(b"node\0");
        state.write(self.name.as_bytes());
        state.write(b"\0");
        state.write(&self.number.to_le_bytes());
    }
}

/// A shard's place on the ring.
struct ShardPoint(u32);

impl Hash for ShardPoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(b"shard\0");
        state.write(&self.0.to_le_bytes());
    }
}

fn ring_of(sites: &[&Site]) -> HashRing<Point> {
    let mut points = Vec::with_capacity(sites.len() * POINTS_PER_NODE as usize);
    for (site, Site { name, .. }) in sites.iter().enumerate() {
        let name: Arc<str> = name.as_str().into();
        points.extend((0..POINTS_PER_NODE).map(|number| Point { site, name: Arc::clone(&name), number }));
    }
    let mut ring = HashRing::new();
    ring.batch_add(points);
    ring
}

/// All sites in the order in which the ring meets them from the shard's place.
fn candidates(ring: &HashRing<Point>, shard: u32, sites: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(sites);
    for point in ring.get_with_replicas(&ShardPoint(shard), ring.len()).unwrap_or_default() {
        if !order.contains(&point.site) {
            order.push(point.site);
            if order.len() == sites {
                break;
            }
        }
    }
    order
}

/// The first candidates with room, of distinct zones as far as possible.
fn pick(sites: &[&Site], order: &[usize], replication: usize, share: usize, held: &[usize]) -> Vec<usize> {
    let mut row: Vec<usize> = Vec::with_capacity(replication);
    // A zone lost with two of three replicas is worse than an uneven load, so a new zone goes
    // before room.
    for (zone, room) in [(true, true), (true, false), (false, true), (false, false)] {
        for &site in order {
            let fits = (!zone || is_zone_free(sites, &row, site)) && (!room || held[site] < share);
            if row.len() < replication && !row.contains(&site) && fits {
                row.push(site);
            }
        }
    }
    row
}

fn is_zone_free(sites: &[&Site], row: &[usize], site: usize) -> bool {
    sites[site].zone.is_empty() || row.iter().all(|&other| sites[other].zone != sites[site].zone)
}

/// The last rows may have found only full nodes: moves single replicas from nodes over their share
/// to nodes below it, from the last row backwards, as long as zones stay apart.
fn even_out(table: &mut [Vec<usize>], sites: &[&Site], held: &mut [usize], share: usize) {
    for over in 0..sites.len() {
        'rows: for row in table.iter_mut().rev() {
            let Some(at) = row.iter().position(|&site| site == over) else { continue };
            if held[over] <= share {
                break;
            }
            let others: Vec<usize> = row.iter().copied().filter(|&site| site != over).collect();
            let crowded = !is_zone_free(sites, &others, over);
            let mut idle: Vec<usize> = (0..sites.len()).filter(|&site| held[site] < share).collect();
            idle.sort_by_key(|&site| held[site]);
            for site in idle {
                if !row.contains(&site) && (crowded || is_zone_free(sites, &others, site)) {
                    row[at] = site;
                    held[over] -= 1;
                    held[site] += 1;
                    continue 'rows;
                }
            }
        }
    }
}

/// Swaps preferred leaders until no chain of swaps brings the busiest and the idlest nearer.
fn balance_leaders(table: &mut [Vec<usize>], sites: usize) {
    let mut led = vec![0usize; sites];
    for row in table.iter() {
        led[row[0]] += 1;
    }
    while let Some(path) = relief(table, &led, sites) {
        for (shard, to) in &path.moves {
            let row = &mut table[*shard];
            let at = row.iter().position(|site| site == to).expect("the path goes to a replica of the shard");
            row[..=at].rotate_right(1);
        }
        led[path.from] -= 1;
        led[path.to] += 1;
    }
}

/// A chain of leader changes that moves one leadership from `from` to `to`.
struct Relief {
    from: usize,
    to: usize,
    moves: Vec<(usize, usize)>,
}

/// Breadth first from each busy node along "leads a shard that the other one keeps too".
fn relief(table: &[Vec<usize>], led: &[usize], sites: usize) -> Option<Relief> {
    let mut busiest: Vec<usize> = (0..sites).collect();
    busiest.sort_by_key(|&site| std::cmp::Reverse(led[site]));
    for from in busiest {
        let mut came: Vec<Option<(usize, usize)>> = vec![None; sites];
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(site) = queue.pop_front() {
            if led[site] + 2 <= led[from] {
                let mut moves = Vec::new();
                let mut at = site;
                while let Some((shard, before)) = came[at] {
                    moves.push((shard, at));
                    at = before;
                }
                return Some(Relief { from, to: site, moves });
            }
            for (shard, row) in table.iter().enumerate().filter(|(_, row)| row[0] == site) {
                for &next in &row[1..] {
                    if next != from && came[next].is_none() {
                        came[next] = Some((shard, site));
                        queue.push_back(next);
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(count: usize) -> Vec<Site> {
        (1..=count).map(|i| Site { name: format!("node-{i}"), zone: String::new() }).collect()
    }

    fn counts(table: &[Vec<usize>], sites: usize, of: impl Fn(&[usize]) -> &[usize]) -> Vec<usize> {
        let mut counts = vec![0; sites];
        for row in table {
            for &site in of(row) {
                counts[site] += 1;
            }
        }
        counts
    }

    fn spread(counts: &[usize]) -> usize {
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    #[test]
    fn rows_are_distinct_nodes_and_loads_are_even() {
        for nodes in [1, 3, 5, 7] {
            for shards in [1, 2, 16, 64, 1024] {
                let table = place(&sites(nodes), shards, 3);
                let replication = nodes.min(3);
                for row in &table {
                    let distinct: std::collections::HashSet<_> = row.iter().collect();
                    assert_eq!(distinct.len(), replication, "{nodes} nodes, {shards} shards: {row:?}");
                }
                let kept = counts(&table, nodes, |row| row);
                let share = (shards as usize * replication).div_ceil(nodes);
                assert!(kept.iter().all(|&kept| kept <= share), "{nodes} nodes, {shards} shards: {kept:?}");
                let led = counts(&table, nodes, |row| &row[..1]);
                assert!(spread(&led) <= 1, "{nodes} nodes, {shards} shards: leaders {led:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_configuration_does_not_matter() {
        let (forward, mut backward) = (sites(5), sites(5));
        backward.reverse();
        let names = |sites: &[Site], table: Vec<Vec<usize>>| -> Vec<Vec<String>> {
            table.iter().map(|row| row.iter().map(|&i| sites[i].name.clone()).collect()).collect()
        };
        let (one, other) = (place(&forward, 16, 3), place(&backward, 16, 3));
        assert_eq!(names(&forward, one), names(&backward, other));
    }

    #[test]
    fn a_new_pair_of_nodes_moves_few_replicas() {
        let (five, seven) = (place(&sites(5), 64, 3), place(&sites(7), 64, 3));
        let moved: usize = five
            .iter()
            .zip(&seven)
            .map(|(before, after)| after.iter().filter(|site| !before.contains(site)).count())
            .sum();
        // 64 × 3 × 2/7 = 55 must move to fill two new nodes; a rehash would move about 131 of 192.
        assert!((50..=90).contains(&moved), "{moved} of 192 replicas moved");
    }

    #[test]
    fn replicas_are_in_distinct_zones() {
        let mut seven = sites(7);
        for (i, site) in seven.iter_mut().enumerate() {
            site.zone = ["a", "b", "c"][i % 3].to_owned();
        }
        for row in place(&seven, 64, 3) {
            let zones: std::collections::HashSet<_> = row.iter().map(|&i| &seven[i].zone).collect();
            assert_eq!(zones.len(), 3, "{row:?}");
        }
        let one_zone: Vec<Site> = sites(3).into_iter().map(|s| Site { zone: "a".into(), ..s }).collect();
        assert!(place(&one_zone, 16, 3).iter().all(|row| row.len() == 3));
    }

    #[test]
    fn the_table_is_frozen() {
        // A change of these rows would move every existing cluster's data.
        let table = place(&sites(3), 16, 3);
        let leaders: Vec<usize> = table.iter().map(|row| row[0]).collect();
        assert_eq!(leaders, GOLDEN_LEADERS);
        let five: Vec<Vec<usize>> = place(&sites(5), 4, 3);
        assert_eq!(five, GOLDEN_FIVE);
    }

    const GOLDEN_LEADERS: [usize; 16] = [1, 0, 0, 1, 1, 1, 2, 2, 2, 0, 2, 1, 0, 2, 2, 0];
    const GOLDEN_FIVE: [[usize; 3]; 4] = [[4, 3, 1], [3, 0, 2], [0, 2, 3], [1, 4, 0]];
}
