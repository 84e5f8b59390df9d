//! A task for connections that go on after their request.

use daemon::Task;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Serves each that arrives, until the gateway stops.
///
/// `stop` comes before the tasks are asked to stop, so that clients know at once; `serve` gets it
/// with each connection, and has to come to an end then.
pub(crate) async fn run<A, F>(
    task: Task,
    mut arrivals: mpsc::Receiver<A>,
    stop: CancellationToken,
    serve: impl Fn(A, CancellationToken) -> F + Send,
) -> anyhow::Result<()>
where
    A: Send,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let closing = stop.child_token();
    loop {
        let next = async {
            tokio::select! {
                biased;
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a connection failed");
                    }
                    None
                }
                arrival = arrivals.recv() => arrival,
            }
        };
        match task.until_stopped(next).await {
            None => break,
            Some(None) => {}
            Some(Some(arrival)) => {
                connections.spawn(serve(arrival, closing.clone()));
            }
        }
    }
    closing.cancel();
    task.alive(async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}
