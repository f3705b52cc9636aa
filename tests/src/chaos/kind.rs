//! The matrix: every kind of fault, what it does, and what proves that it took effect.

macro_rules! kinds {
    ($($kind:ident, $name:literal, $weight:literal, $mix:ident, $does:literal, $proof:literal;)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = $does] $kind,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// How often it is drawn, against the others.
            #[must_use]
            pub fn weight(self) -> u64 {
                match self { $(Self::$kind => $weight),+ }
            }

            /// The group that `--mix` names.
            #[must_use]
            pub fn mix(self) -> Mix {
                match self { $(Self::$kind => Mix::$mix),+ }
            }

            /// What it does.
            #[must_use]
            pub fn does(self) -> &'static str {
                match self { $(Self::$kind => $does),+ }
            }

            /// What proves it.
            #[must_use]
            pub fn proof(self) -> &'static str {
                match self { $(Self::$kind => $proof),+ }
            }
        }
    };
}

/// A group of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mix {
    /// Processes killed, frozen, restarted.
    Process,
    /// The network between nodes, and to clients.
    Network,
    /// Cables and packets, below TCP; only where a run can have a network of its own.
    Packets,
    /// Wall clocks.
    Clock,
    /// Disks that fail.
    Disk,
    /// Files that were changed.
    Damage,
    /// Clients that behave badly, and too many of them.
    Clients,
}

impl Mix {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("process", Self::Process),
        ("network", Self::Network),
        ("packets", Self::Packets),
        ("clock", Self::Clock),
        ("disk", Self::Disk),
        ("damage", Self::Damage),
        ("clients", Self::Clients),
    ];
}

kinds! {
    KillOne, "kill-one", 8, Process, "SIGKILL to a node, started again within 2 s", "the exit status, and the process is gone";
    KillLeader, "kill-leader", 8, Process, "SIGKILL to a shard's leader", "the exit status, and somebody leads in a higher term";
    KillAll, "kill-all", 2, Process, "SIGKILL to every node at once", "every exit status";
    Pause, "pause", 8, Process, "SIGSTOP to a node for 0.1 to 5 s", "the state in /proc is T until SIGCONT";
    LongPause, "long-pause", 1, Process, "SIGSTOP to a node for 10 to 30 s", "the state in /proc is T until SIGCONT, and the others lead what it led";
    Transfer, "leader-transfer", 4, Process, "SIGTERM to a shard's leader", "it exits with 0 and says that its leaderships were taken over; somebody else leads";
    Rolling, "rolling-restart", 1, Process, "SIGTERM to one node after the other", "every exit status is 0, and every node is ready again";
    Snapshot, "snapshot-install", 2, Process, "a node is down until the others have purged what it lacks", "purged past its last index; then it logs an installed snapshot";
    SnapshotKilled, "snapshot-killed", 1, Process, "the same, and the node is killed again while the snapshot comes", "the exit status, then an installed snapshot";
    PurgeCut, "purge-under-cut", 2, Process, "a node is cut off until the others have purged what it lacks", "purged past its last index while no byte passed";
    Split, "partition", 8, Network, "a node is cut off from the others, both ways", "bytes came to the proxy, none passed";
    SplitLeader, "partition-leader", 5, Network, "the same, of a shard's leader", "and the others elect one in a higher term";
    Mute, "one-way-out", 5, Network, "nothing from a node reaches the others", "bytes came, none passed; the other way some did";
    Deaf, "one-way-in", 5, Network, "nothing from the others reaches a node", "bytes came, none passed; the other way some did";
    Ring, "partition-ring", 3, Network, "each node reaches only the next one", "bytes against the ring came, none passed";
    Flap, "partition-flapping", 4, Network, "a node is cut off and back many times", "in each cut no byte passed";
    ClientCut, "client-cut", 5, Network, "clients and a node cannot reach each other, or one not the other", "bytes came, none passed";
    Delay, "delay", 6, Network, "bytes around a node come 10 to 150 ms later", "the proxy's count of delayed bytes";
    Loss, "loss", 6, Network, "connections around a node are reset, again and again", "connections broken, and new ones made";
    Slow, "slow-link", 4, Network, "20 to 200 KB/s around a node", "the proxy's count of slowed bytes";
    HalfOpen, "half-open", 3, Network, "a node is killed and nobody is told that its connections ended", "the exit status, and ends that were not told";
    Late, "reordered", 5, Network, "what a node sent arrives after the connection that replaced it came up", "late bytes, behind a new connection";
    LateClient, "reordered-client", 4, Network, "the same, of clients", "late bytes, behind a new connection";
    Duplicate, "duplicated", 3, Network, "the consensus' messages from one node to another arrive twice", "messages handed over a second time";
    CablePulled, "cable-pulled", 5, Packets, "the cable of a node's interface is pulled for 0.3 to 5 s", "the node's end has no carrier, no packet passes, TCP sends segments again";
    PacketsDropped, "packets-dropped", 5, Packets, "2 to 25 % of the packets from and to a node are dropped", "the kernel's count of them, and of segments sent again";
    ClockForward, "clock-forward", 4, Clock, "a node's wall clock jumps ahead by 1 s to 1 h, and back", "the node has read wrong times";
    ClockBack, "clock-back", 4, Clock, "a node's wall clock jumps back by 1 s to 1 h, and back", "the node has read wrong times";
    ClockDrift, "clock-drift", 3, Clock, "a node's wall clock runs up to 20 % fast or slow, or stands still", "the node has read wrong times";
    DiskFull, "disk-full", 4, Disk, "a node's disk says that no byte is free", "the node has asked, and shows 0 free bytes";
    SyncError, "sync-error", 4, Disk, "a sync of the log fails", "the failure was injected, and the process, or the replica under a snapshot, ended by itself";
    WriteError, "write-error", 3, Disk, "a write of the log fails", "the failure was injected, and the process, or the replica under a snapshot, ended by itself";
    SlowDisk, "slow-disk", 5, Disk, "each sync takes 5 to 80 ms longer", "the node's count of slowed syncs";
    StalledDisk, "stalled-disk", 4, Disk, "writes and syncs hang for 0.3 to 4 s", "the node's count of held calls";
    DamagedEngine, "damaged-engine", 1, Damage, "a node is killed and every block of its record store is changed", "the records are wiped and made again";
    DamagedSnapshot, "damaged-snapshot", 1, Damage, "a snapshot under way has a bit changed (snapshots are streams, there are no files)", "the proxy changed one; later one is installed whole";
    DamagedLog, "damaged-log", 0, Damage, "at the end: a log record of another shard on each node is changed", "each node quarantines that replica, and only that";
    Overload, "overload", 1, Clients, "five times the calls a second that the cluster can take, or more, for 1.5 to 2.5 s", "what sockets took in that time, calls refused as overloaded or late, and others acknowledged; calls of a burst refused as overloaded";
    HalfFrames, "abuse-half-frames", 2, Clients, "connections that stop in the middle of a frame", "the nodes close them in time";
    Garbage, "abuse-garbage", 2, Clients, "bytes that are no frames, on client and peer ports", "the nodes close them";
    SlowReader, "abuse-slow-reader", 2, Clients, "clients that ask and do not read", "answers were asked for and left unread";
    Abandon, "abuse-abandon", 3, Clients, "callers that ask and close at once", "calls sent, connections closed before the answers";
    OldTokens, "abuse-old-tokens", 3, Clients, "holders that come back with dead tokens", "every one is fenced";
}
