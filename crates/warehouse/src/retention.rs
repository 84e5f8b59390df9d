//! Retention: whole days go.

use crate::Table;
use crate::error::Error;

/// A day that goes, or has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredDay {
    /// Database and table.
    pub table: String,
    /// Counted from the epoch.
    pub day: i64,
    /// As `YYYY-MM-DD`.
    pub date: String,
    /// Rows of it.
    pub rows: u64,
    /// Bytes of them on disk.
    pub bytes: u64,
}

impl Table {
    /// Takes out the days before `day`, and says which they were.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server refuses; days that were taken out before stay out.
    pub async fn expire(&mut self, day: i64) -> Result<Vec<ExpiredDay>, Error> {
        let expired = self.reader().days_before(day).await?;
        if !expired.is_empty() {
            // What it knows to be stored may be gone, whatever the answers say.
            self.forget();
        }
        let connection = self.warehouse().connection();
        let table = connection.layout().everywhere(&connection.layout().held(self.kind()));
        for ExpiredDay { date, .. } in &expired {
            let sql = format!("ALTER TABLE {table} DROP PARTITION {{date:String}}");
            let query = connection.query(&sql).param("date", date);
            connection.execute("drop an old day", query).await?;
        }
        Ok(expired)
    }
}
