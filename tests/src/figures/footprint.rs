//! What a session costs the services when nothing happens: its queues in the broker, its lease in Redis.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use wafleet_protocol::topology;

use crate::fleet::Fleet;
use crate::wait;

/// How long the broker may take to tell figures of a new queue.
const PATIENCE: Duration = Duration::from_secs(120);
/// Leases that Redis is measured with.
const LEASES: usize = 1_000;

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Of the broker, for the four lanes of one session, as it tells it itself.
    pub broker: u64,
    /// Of Redis, for the lease of one session.
    pub redis: u64,
}

/// Declares the queues of so many sessions, and holds a thousand leases.
///
/// # Errors
/// When a service refuses.
pub async fn of_a_session(sessions: usize) -> anyhow::Result<Footprint> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let others = fleet.virtual_host().queues().await?;
    for number in 0..sessions {
        host.declare(&topology::session(&format!("idle-{number}").parse()?)).await?;
    }
    let lanes = async || {
        let queues = fleet.virtual_host().queue_figures().await?;
        let of_sessions: Vec<&Value> =
            queues.iter().filter(|queue| !others.iter().any(|other| queue["name"] == other.as_str())).collect();
        let memory: Option<u64> = of_sessions.iter().map(|queue| queue["memory"].as_u64()).sum();
        Ok(memory.filter(|memory| *memory > 0 && of_sessions.len() >= sessions * 4))
    };
    let broker = wait::until("the broker tells the memory of every queue", PATIENCE, lanes).await?;

    let client = redis::Client::open(fleet.redis_url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let before = used_memory(&mut connection).await?;
    let mut pipeline = redis::pipe();
    for number in 0..LEASES {
        let key = format!("{}:lease:idle-{number}", fleet.redis_prefix());
        pipeline.cmd("SET").arg(key).arg("a-worker-of-the-fleet/0123456789abcdef").arg("PX").arg(600_000).ignore();
    }
    pipeline.exec_async(&mut connection).await?;
    let redis = used_memory(&mut connection).await?.saturating_sub(before);
    Ok(Footprint { broker: broker / sessions.max(1) as u64, redis: redis / LEASES as u64 })
}

async fn used_memory(connection: &mut redis::aio::MultiplexedConnection) -> anyhow::Result<u64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("Redis tells its memory")?;
    Ok(line.trim().parse()?)
}
