//! The connection to the server: every request has a limit, and an exception is a failure wherever
//! in the answer it stands.

use crate::layout::Layout;
use crate::{Damage, Error, tls};
use bytes::Bytes;
use clickhouse::query::Query;
use clickhouse::{Client, Compression};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model::Kind;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt as _;

/// How long an idle connection is kept; the server closes its end after 3 s.
///
/// Source: `keep_alive_timeout` of the server's default configuration, 26.7.
const IDLE_MAX: Duration = Duration::from_secs(2);
/// Silence on a connection after which the other end is asked for a sign of life, how often, and how
/// many may stay away: what has no limit of its own ends some two minutes after the server's host.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(15), 4);

/// Sends statements to one database.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    layout: Layout,
    limit: Duration,
    /// What was found to be damaged and nobody has taken to mend, by table.
    damage: Arc<Mutex<BTreeMap<String, Damage>>>,
}

impl Connection {
    pub(crate) fn new(
        settings: &settings::ClickHouse,
        url: &str,
        password: Option<&SecretString>,
    ) -> Result<Self, Error> {
        let is_https = url.starts_with("https://");
        if !is_https && !url.starts_with("http://") {
            return Err(Error::Address { url: url.to_owned() });
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        // Header and body are two writes; without this the second waits for an acknowledgement.
        connector.set_nodelay(true);
        let (silence, interval, retries) = KEEPALIVE;
        connector.set_keepalive(Some(silence));
        connector.set_keepalive_interval(Some(interval));
        connector.set_keepalive_retries(Some(retries));
        let mut transport = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        transport.pool_idle_timeout(IDLE_MAX);
        let client = if is_https {
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(tls::config(settings.ca_file.as_deref())?)
                .https_only()
                .enable_http1()
                .wrap_connector(connector);
            // The handshake as well, with a port that accepts and says nothing.
            let limit = settings.connect_timeout * 2;
            let limited = https.map_future(move |connecting| {
                Box::pin(async move { timeout(limit, connecting).await? })
            });
            Client::with_http_client(transport.build::<_, _>(limited))
        } else {
            Client::with_http_client(transport.build::<_, _>(connector))
        };
        let mut client = client
            .with_url(url)
            .with_user(&settings.user)
            .with_compression(Compression::None)
            // A status line that is sent after the work is done tells the truth about it.
            .with_setting("wait_end_of_query", "1")
            // On by default since 26.x: the server would make its own batches out of ours.
            .with_setting("async_insert", "0");
        if let Some(password) = password {
            client = client.with_password(password.expose_secret());
        }
        let (layout, limit) = (Layout::new(settings), settings.request_timeout);
        Ok(Self { client, layout, limit, damage: Arc::default() })
    }

    /// The database, whose name needs no quotes.
    pub(crate) fn database(&self) -> &str {
        self.layout.database()
    }

    /// Where the tables are.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A statement; values belong into its parameters.
    pub(crate) fn query(&self, sql: &str) -> Query {
        self.client.query(sql)
    }

    /// A statement of somebody else, in which nothing stands for a parameter.
    pub(crate) fn foreign(&self, sql: &str) -> Query {
        self.client.query_raw(sql)
    }

    /// Runs a statement without an answer.
    pub(crate) async fn execute(&self, action: &'static str, query: Query) -> Result<(), Error> {
        self.within(action, query.execute()).await
    }

    /// Runs a statement without an answer that may take hours, such as one that rewrites a table.
    pub(crate) async fn execute_unlimited(
        &self,
        action: &'static str,
        query: Query,
    ) -> Result<(), Error> {
        query.execute().await.map_err(Error::client(action))
    }

    /// Runs a statement and returns its answer in `RowBinary`.
    pub(crate) async fn fetch(&self, action: &'static str, query: Query) -> Result<Bytes, Error> {
        let read = async {
            let mut cursor = query.fetch_bytes("RowBinary")?;
            cursor.collect().await
        };
        self.within(action, read).await
    }

    /// Runs a statement whose answer may take longer than others.
    pub(crate) async fn fetch_within(
        &self,
        action: &'static str,
        query: Query,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let patient = Self { limit: self.limit.max(limit), ..self.clone() };
        patient.fetch(action, query).await
    }

    /// Hands out the parts of an answer as they come, until enough was taken; then, or when this is
    /// dropped, the connection is closed, which ends a statement that only reads.
    pub(crate) async fn take(
        &self,
        action: &'static str,
        query: Query,
        format: &str,
        limit: Duration,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let read = async {
            let mut cursor = query.fetch_bytes(format)?;
            while let Some(part) = cursor.next().await? {
                if take(&part).is_break() {
                    break;
                }
            }
            Ok::<_, clickhouse::error::Error>(())
        };
        Self { limit, ..self.clone() }.within(action, read).await
    }

    /// Inserts a block in the format `Native`, which comes in parts; once this returns its rows are
    /// on disk.
    pub(crate) async fn insert(&self, sql: &str, token: &str, rows: &[Bytes]) -> Result<(), Error> {
        let send = async {
            let mut insert = self
                .client
                .insert_formatted_with(sql)
                .with_setting("insert_deduplication_token", token)
                // Each identity is there once: the server need not look for others to replace.
                .with_setting("optimize_on_insert", "0");
            for (name, value) in self.layout.insert_settings() {
                insert = insert.with_setting(*name, *value);
            }
            for part in rows {
                insert.send(part.clone()).await?;
            }
            insert.end().await
        };
        self.within("insert rows", send).await
    }

    async fn within<T>(
        &self,
        action: &'static str,
        work: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, Error> {
        match timeout(self.limit, work).await {
            Ok(result) => {
                result.map_err(Error::client(action)).inspect_err(|error| self.note(error))
            }
            Err(_) => Err(Error::Timeout { action, after: self.limit }),
        }
    }

    /// Keeps what an error says of damage for whoever writes the table.
    fn note(&self, error: &Error) {
        if let Error::Damaged { damage, .. } = error
            && let Some(table) = &damage.table
        {
            let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(table.clone(), damage.clone());
        }
    }

    /// What was found to be damaged of a kind's table since this was asked last.
    pub(crate) fn take_damage(&self, kind: Kind) -> Option<Damage> {
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&format!("{}.{}", self.database(), self.layout.held(kind)))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("layout", &self.layout).finish_non_exhaustive()
    }
}
