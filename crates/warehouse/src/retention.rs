//! Retention: whole days go.

use crate::decode::Answer;
use crate::error::Error;
use crate::{Table, schema};

/// A day that goes, or has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredDay {
    /// Database and table.
    pub table: String,
    /// As `YYYY-MM-DD`.
    pub date: String,
    /// Rows of it.
    pub rows: u64,
    /// Bytes of them on disk.
    pub bytes: u64,
}

impl Table {
    /// The days before `day`, counted from the epoch, that hold rows.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not say.
    pub async fn expired(&self, day: i64) -> Result<Vec<ExpiredDay>, Error> {
        let connection = self.warehouse().connection();
        let table = schema::table(self.kind());
        let sql = "SELECT toString(toDate(partition)) AS date, sum(rows), sum(bytes_on_disk) \
                   FROM system.parts WHERE active AND database = {database:String} \
                   AND table = {table:String} AND toInt64(toUInt16(toDate(partition))) < {day:Int64} \
                   GROUP BY partition ORDER BY date";
        let query = connection.query(sql).param("database", connection.database());
        let query = query.param("table", &table).param("day", day);
        let answer = connection.fetch("list old days", query).await?;
        let (mut answer, mut days) = (Answer::new(&answer), Vec::new());
        while !answer.is_empty() {
            days.push(ExpiredDay {
                table: format!("{}.{table}", connection.database()),
                date: answer.text()?.to_owned(),
                rows: answer.u64()?,
                bytes: answer.u64()?,
            });
        }
        Ok(days)
    }

    /// Takes out the days before `day`, and says which they were.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server refuses; days that were taken out before stay out.
    pub async fn expire(&mut self, day: i64) -> Result<Vec<ExpiredDay>, Error> {
        let expired = self.expired(day).await?;
        let connection = self.warehouse().connection();
        for ExpiredDay { table, date, .. } in &expired {
            let sql = format!("ALTER TABLE {table} DROP PARTITION {{date:String}}");
            let query = connection.query(&sql).param("date", date);
            connection.execute("drop an old day", query).await?;
        }
        Ok(expired)
    }
}
