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
        "broker" => (&["$JS.API.>", "md.>", "mdb.>"], &[]),
        // It asks what is in the streams when it starts, to go on where it was.
        "collector" => (
            &["md.>", "mdb.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"],
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
        "gateway" => (&["$JS.API.INFO"], &["md.>"]),
        _ => (&["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*"], &[]),
    };
    let mut subscribe: Vec<String> = subscribe.iter().map(|&subject| subject.to_owned()).collect();
    subscribe.push(format!("_INBOX.{service}.>"));
    Permissions { publish: publish.iter().map(|&subject| subject.to_owned()).collect(), subscribe }
}
