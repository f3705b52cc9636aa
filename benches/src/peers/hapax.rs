//! Hapax itself, on the same terms.

use super::Target;
use crate::load::hapax::Hapax;
use crate::servers::hapax::{Cluster, Plan};
use crate::servers::usage::Servers;
use anyhow::Result;

impl Target for Cluster {
    type Store = Hapax;

    fn servers(&self) -> Result<Servers> {
        Self::servers(self)
    }

    async fn connect(&self, _: usize) -> Result<Vec<Hapax>> {
        Ok(vec![Hapax::connect(&self.nodes(), super::TIMEOUT).await?])
    }
}

/// Starts one in a directory, with the default number of shards.
pub(super) async fn start(plan: &super::Plan, dir: &std::path::Path, nodes: u16) -> Result<Cluster> {
    Cluster::start(&Plan { program: plan.program.clone(), nodes, shards: None, dir: Some(dir.to_owned()) })
        .await
}
