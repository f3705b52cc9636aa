//! Many verbs at once.

use crate::client::Client;
use crate::error::Error;
use futures_util::future::join_all;
use hapax_core::{Address, Answer, Ask, ErrorCode, limits};
use std::collections::HashMap;
use std::time::Duration;

impl Client {
    /// Sends up to 1024 verbs and hands back their answers in the same order. Nothing is atomic
    /// across addresses. On one address they take effect in the order given: each is sent when the
    /// one before it is answered, and not at all once one before it is left in doubt. Waits are
    /// kept; the cache is not asked. Verbs on different addresses travel together.
    ///
    /// # Errors
    /// `too_large`, definite, for more than 1024; nothing was sent then. Each verb has its own
    /// result otherwise.
    pub async fn batch(&self, asks: Vec<Ask>) -> Result<Vec<Result<Answer, Error>>, Error> {
        if asks.len() > limits::BATCH_VERBS {
            return Err(Error::too_large("batch", limits::BATCH_VERBS));
        }
        let count = asks.len();
        let chains = chains(asks);
        let answered = join_all(chains.into_iter().map(|chain| self.chain(chain))).await;
        let mut answers: Vec<Option<Result<Answer, Error>>> = Vec::new();
        answers.resize_with(count, || None);
        for (at, answer) in answered.into_iter().flatten() {
            answers[at] = Some(answer);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Verbs on one address, one after the other.
    async fn chain(&self, chain: Vec<(usize, Ask)>) -> Vec<(usize, Result<Answer, Error>)> {
        let mut answers = Vec::with_capacity(chain.len());
        let mut in_doubt = false;
        for (at, ask) in chain {
            if in_doubt {
                let text = "an earlier verb of the batch on this address is in doubt";
                answers.push((at, Err(Error::definite(ErrorCode::Unavailable, text))));
                continue;
            }
            let wait = Duration::from_millis(match &ask {
                Ask::Claim(ask) => ask.wait_ms,
                Ask::Get(ask) => ask.wait_ms,
                _ => 0,
            });
            let until = self.until(self.inner.env.now(), wait);
            let answer = self.inner.call(self.request(ask), until, &mut in_doubt).await;
            // Once one copy is answered, another that is still under way does no second harm.
            in_doubt = answer.as_ref().is_err_and(|error| !error.is_definite());
            answers.push((at, answer));
        }
        answers
    }
}

/// The verbs of each address in their order; a verb without an address stands alone.
fn chains(asks: Vec<Ask>) -> Vec<Vec<(usize, Ask)>> {
    let mut chains: Vec<Vec<(usize, Ask)>> = Vec::with_capacity(asks.len());
    let mut by_address: HashMap<Address, usize> = HashMap::with_capacity(asks.len());
    for (at, ask) in asks.into_iter().enumerate() {
        let next = chains.len();
        let chain = ask.address().map_or(next, |address| *by_address.entry(address.clone()).or_insert(next));
        if chain == next {
            chains.push(Vec::with_capacity(1));
        }
        chains[chain].push((at, ask));
    }
    chains
}
