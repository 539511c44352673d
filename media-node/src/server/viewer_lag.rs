//! How far viewers are behind live: all of them are sampled every few seconds, so that none of them measures it itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use media_engine::Registry;
use prometheus::Histogram;

use super::context::NodeContext;
use super::ticks::ticks;
use crate::state::clients::Clients;

/// Samples the viewers for as long as the media node runs.
pub(super) async fn sample_viewers(context: Arc<NodeContext>) {
    let mut ticks = ticks(context.timings.lag_sample);
    loop {
        ticks.tick().await;
        let lag = &context.metrics.viewers.lag;
        sample(&context.registry, &context.clients, lag);
    }
}

/// Records for each viewer the media that its stream has and that it has not been sent.
fn sample(registry: &Registry, clients: &Clients, lag: &Histogram) {
    let streams = registry.streams();
    let ages: HashMap<_, _> = streams
        .iter()
        .filter_map(|stream| Some((stream.key(), stream.age()?)))
        .collect();
    clients.for_each(|client| {
        // Only viewers have a position.
        if let Some((age, position)) = ages.get(&client.stream).zip(client.position()) {
            let behind = u64::try_from(age - position).unwrap_or(0);
            lag.observe(Duration::from_millis(behind).as_secs_f64());
        }
    });
}
