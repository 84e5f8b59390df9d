//! Who may do what in NATS.

/// The services that talk to NATS, each with a user of its own.
pub const SERVICES: &[&str] =
    &["broker", "collector", "storage", "gateway", "monitoring", "scheduler"];

/// The subjects a user may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
}

/// What a service may do: what it needs, and nothing that belongs to another.
///
/// Its answers come to an inbox of its own, which nobody else may listen to.
#[must_use]
pub fn permissions(service: &str) -> Permissions {
    let (publish, subscribe): (&[&str], &[&str]) = match service {
        // A replay is published, and looked at, as its user.
        "broker" => (&["$JS.API.>", "md.>", "mdb.>", "replay.>"], &["replay.>"]),
        // It asks what is in the streams when it starts, to go on where it was.
        "collector" => (
            &[
                "md.>",
                "mdb.>",
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.*",
                "$JS.API.STREAM.MSG.GET.*",
                // Which of a pair leads.
                "$JS.API.STREAM.CREATE.KV_marketprism-leases",
                "$KV.marketprism-leases.collector.*",
            ],
            &[],
        ),
        "storage" => (
            &[
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.*",
                "$JS.API.STREAM.MSG.GET.*",
                "$JS.API.CONSUMER.INFO.*.storage",
                "$JS.API.CONSUMER.MSG.NEXT.*.storage",
                "$JS.ACK.*.storage.>",
                // Rows it could not store.
                "mdx.>",
            ],
            &["md.>"],
        ),
        // It reads what is in the streams for clients that want the past, block by block: who may
        // make a consumer may have it deliver to anywhere.
        "gateway" => {
            (&["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"], &["md.>"])
        }
        "scheduler" => (
            &[
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.*",
                "$JS.API.CONSUMER.INFO.*.*",
                // Which of several schedulers acts, which ticks are taken, and what was wished.
                "$JS.API.STREAM.CREATE.KV_marketprism-leases",
                "$JS.API.STREAM.CREATE.KV_marketprism-ticks",
                "$JS.API.STREAM.CREATE.KV_marketprism-wishes",
                "$JS.API.STREAM.MSG.GET.KV_marketprism-leases",
                "$JS.API.STREAM.MSG.GET.KV_marketprism-ticks",
                "$JS.API.STREAM.MSG.GET.KV_marketprism-wishes",
                "$KV.marketprism-leases.scheduler",
                "$KV.marketprism-ticks.*",
                "$KV.marketprism-wishes.scheduler",
            ],
            &[],
        ),
        _ => (&["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*"], &[]),
    };
    let mut subscribe: Vec<String> = subscribe.iter().map(|&subject| subject.to_owned()).collect();
    subscribe.push(format!("_INBOX.{service}.>"));
    Permissions { publish: publish.iter().map(|&subject| subject.to_owned()).collect(), subscribe }
}
