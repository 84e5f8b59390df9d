//! Where the tables are: on one server, or on each server of a cluster.

use crate::schema::table;
use model::Kind;

/// What tells the rows of a table apart decides which shard they are on, so that rows that are the
/// same meet there.
const SHARD_BY: &str = "cityHash64(venue, market, symbol, identity_major, identity_minor)";

/// The names of tables, and those parts of statements that a cluster changes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    database: String,
    cluster: Option<Cluster>,
}

#[derive(Debug, Clone)]
struct Cluster {
    name: String,
    suffix: String,
}

impl Layout {
    pub(crate) fn new(settings: &settings::ClickHouse) -> Self {
        let settings::Cluster { name, distributed_suffix } = &settings.cluster;
        let cluster =
            |name: &String| Cluster { name: name.clone(), suffix: distributed_suffix.clone() };
        Self { database: settings.database.clone(), cluster: name.as_ref().map(cluster) }
    }

    /// The database, whose name needs no quotes.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The table that holds a kind's rows on a server, without the database.
    pub(crate) fn held(&self, kind: Kind) -> String {
        table(kind)
    }

    /// The table through which all rows of a kind are written and read, without the database.
    pub(crate) fn all(&self, kind: Kind) -> String {
        let suffix = self.cluster.as_ref().map_or("", |cluster| &cluster.suffix);
        format!("{}{suffix}", table(kind))
    }

    /// The name of a table or view of the database, and on which servers a statement changes it.
    pub(crate) fn everywhere(&self, name: &str) -> String {
        let database = &self.database;
        match &self.cluster {
            Some(Cluster { name: cluster, .. }) => {
                format!("{database}.{name} ON CLUSTER {cluster}")
            }
            None => format!("{database}.{name}"),
        }
    }

    /// Whether it is a cluster.
    pub(crate) const fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Makes the database.
    pub(crate) fn create_database(&self) -> String {
        let on = self.cluster.as_ref().map(|cluster| format!(" ON CLUSTER {}", cluster.name));
        format!("CREATE DATABASE IF NOT EXISTS {}{}", self.database, on.unwrap_or_default())
    }

    /// The engine of a table with a part of the rows on each shard.
    ///
    /// The servers replace the macros, which their configuration has to have.
    pub(crate) fn engine(&self, table: &str) -> String {
        self.replacing(
            &format!("/clickhouse/tables/{{shard}}/{}/{table}", self.database),
            "{replica}",
        )
    }

    /// The engine of a table with all rows on each server.
    pub(crate) fn engine_of_common(&self, table: &str) -> String {
        self.replacing(
            &format!("/clickhouse/tables/common/{}/{table}", self.database),
            "{shard}-{replica}",
        )
    }

    fn replacing(&self, path: &str, replica: &str) -> String {
        let name = self.engine_name();
        match &self.cluster {
            Some(_) => format!("{name}('{path}', '{replica}')"),
            None => name.to_owned(),
        }
    }

    /// The engine's name alone.
    pub(crate) const fn engine_name(&self) -> &'static str {
        match &self.cluster {
            Some(_) => "ReplicatedReplacingMergeTree",
            None => "ReplacingMergeTree",
        }
    }

    /// The setting that says how many insert tokens are remembered.
    pub(crate) const fn window(&self) -> &'static str {
        match &self.cluster {
            Some(_) => "replicated_deduplication_window",
            None => "non_replicated_deduplication_window",
        }
    }

    /// Makes the table through which a kind's rows are written and read, if it is one of its own.
    pub(crate) fn create_distributed(&self, kind: Kind) -> Option<String> {
        let Cluster { name, .. } = self.cluster.as_ref()?;
        let (database, held) = (&self.database, self.held(kind));
        Some(format!(
            "CREATE TABLE IF NOT EXISTS {} AS {database}.{held} \
             ENGINE = Distributed({name}, {database}, {held}, {SHARD_BY})",
            self.everywhere(&self.all(kind))
        ))
    }

    /// The names of the tables that have a kind's columns, without the database.
    pub(crate) fn tables(&self, kind: Kind) -> Vec<String> {
        let all = self.cluster.as_ref().map(|_| self.all(kind));
        std::iter::once(self.held(kind)).chain(all).collect()
    }

    /// A table of the server's own, with what one replica of each shard has in it.
    pub(crate) fn system(&self, table: &str) -> String {
        match &self.cluster {
            Some(Cluster { name, .. }) => format!("cluster('{name}', system.{table})"),
            None => format!("system.{table}"),
        }
    }

    /// Settings of an insert: its answer says that the rows are on their shards.
    pub(crate) const fn insert_settings(&self) -> &'static [(&'static str, &'static str)] {
        match &self.cluster {
            Some(_) => &[("distributed_foreground_insert", "1")],
            None => &[],
        }
    }
}
