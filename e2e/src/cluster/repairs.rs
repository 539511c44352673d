//! What a scenario takes from the cluster that others need as well, and gives back however it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::Namespace;

/// The repairs that are due, in the order in which they were noted. What they repair is that of `C`.
pub(super) struct Repairs<C>(Arc<Mutex<Vec<Repair<C>>>>);

type Repair<C> = Arc<dyn Fn(C) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl<C> Default for Repairs<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<C> Clone for Repairs<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Clone> Repairs<C> {
    fn note<F>(&self, repair: impl Fn(C) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.0
            .lock()
            .push(Arc::new(move |broken| Box::pin(repair(broken))));
    }

    /// Carries them out, the last first, up to one that fails, which is still due.
    async fn carry_out(&self, broken: &C) -> Result<()> {
        loop {
            let last = self.0.lock().last().cloned();
            let Some(repair) = last else {
                return Ok(());
            };
            repair(broken.clone()).await?;
            self.0.lock().pop();
        }
    }
}

impl Namespace {
    /// Notes how to repair what the scenario breaks next: by [`Namespace::repair`], or else when it has ended, also by a panic or because
    /// it has taken too long. A repair may be tried again, and where nothing is broken.
    pub fn repaired_by<F>(&self, repair: impl Fn(Self) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.repairs.note(repair);
    }

    /// Repairs what has been broken since, the last first.
    pub async fn repair(&self) -> Result<()> {
        self.repairs.carry_out(self).await
    }

    /// Repairs what a scenario that has ended has left broken. It is tried again, as all scenarios after it would fail as well.
    pub(crate) async fn repair_at_end(&self) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.repair().await {
                Ok(()) => return Ok(()),
                Err(error) => self.say(format_args!("cannot repair the cluster yet: {error:#}")),
            }
            sleep(PAUSE).await;
        }
        self.repair().await
    }
}

const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[tokio::test]
    async fn each_repair_is_carried_out_until_it_succeeds_and_then_no_more() {
        let repairs = Repairs::<Arc<Mutex<Vec<&str>>>>::default();
        let done = Arc::default();
        for what in ["first", "last"] {
            repairs.note(move |done: Arc<Mutex<Vec<&str>>>| async move {
                done.lock().push(what);
                ensure!(done.lock().len() > 1, "not yet");
                Ok(())
            });
        }
        repairs.carry_out(&done).await.unwrap_err();
        assert_eq!(*done.lock(), ["last"]);
        repairs.clone().carry_out(&done).await.unwrap();
        repairs.carry_out(&done).await.unwrap();
        assert_eq!(*done.lock(), ["last", "last", "first"]);
    }
}
