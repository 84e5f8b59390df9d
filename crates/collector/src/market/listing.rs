//! Reading what a venue lists.

use crate::capture::Tap;
use crate::fetcher::{Answer, Fetch};
use anyhow::Context as _;
use model::Instrument;
use net::Reply;
use std::collections::VecDeque;
use telemetry::Chain;
use tokio::sync::mpsc;
use venue::recording::Source;
use venue::{Adapter, RestRequest, Volumes};

/// Requests for one list, at most: more parts than any venue has.
const REQUESTS_MAX: usize = 100;

/// What a venue lists.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) list: Vec<Instrument>,
    /// Empty unless they were asked for.
    pub(crate) volumes: Volumes,
}

impl Listing {
    /// Reads the list, all its parts, and the volumes if they are wanted; takes the answers down
    /// where that is wanted.
    ///
    /// # Errors
    ///
    /// If any of it cannot be had: half a list would be taken for the end of the other half.
    pub(crate) async fn read<A: Adapter>(
        adapter: &A,
        fetches: &mpsc::Sender<Fetch>,
        with_volumes: bool,
        mut tap: Option<Tap>,
    ) -> anyhow::Result<Self> {
        let (mut list, mut requests) =
            (Vec::new(), VecDeque::from([adapter.instruments_request()]));
        let mut asked = 0;
        while let Some(request) = requests.pop_front() {
            asked += 1;
            anyhow::ensure!(asked <= REQUESTS_MAX, "the instrument list has too many parts");
            let path = request.path.clone();
            let reply =
                ask(fetches, request, &mut tap).await.context("load the instrument list")?;
            let read = || "read the instrument list";
            requests.extend(adapter.more_instruments(&path, &reply.body).with_context(read)?);
            list.extend(adapter.parse_instruments(&reply.body).with_context(read)?);
        }
        anyhow::ensure!(!list.is_empty(), "the instrument list is empty");
        if let Some(request) = adapter.funding_request()
            && let Err(error) = add_funding(adapter, fetches, request, &mut tap, &mut list).await
        {
            // A figure of fundings is no reason to record nothing.
            tracing::warn!(error = %Chain(error.as_ref()), "the hours of funding are unknown");
        }
        let mut volumes = Volumes::new();
        if with_volumes {
            for request in adapter.volumes_requests() {
                let reply = ask(fetches, request, &mut tap).await.context("load the volumes")?;
                volumes.extend(adapter.parse_volumes(&reply.body).context("read the volumes")?);
            }
        }
        Ok(Self { list, volumes })
    }
}

/// Adds to the list how often funding is exchanged.
async fn add_funding<A: Adapter>(
    adapter: &A,
    fetches: &mpsc::Sender<Fetch>,
    request: RestRequest,
    tap: &mut Option<Tap>,
    list: &mut [Instrument],
) -> anyhow::Result<()> {
    let reply = ask(fetches, request, tap).await.context("load the hours of funding")?;
    adapter.read_funding(&reply.body, list).context("read the hours of funding")
}

async fn ask(
    fetches: &mpsc::Sender<Fetch>,
    request: RestRequest,
    tap: &mut Option<Tap>,
) -> anyhow::Result<Reply> {
    let (answers, mut answer) = mpsc::channel(1);
    let fetch = Fetch { instrument: None, request, answers };
    fetches.send(fetch).await.context("reach the fetcher")?;
    let Answer { path, result, .. } = answer.recv().await.context("hear from the fetcher")?;
    let reply = result?;
    if let Some(tap) = tap {
        tap.note(reply.recv_time, Source::Get(&path), &reply.body);
    }
    Ok(reply)
}
