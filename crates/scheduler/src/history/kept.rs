//! What the history keeps beside the runs: what people have wished of tasks.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableDatabase as _, ReadableTable as _};

use settings::Task;

use super::{ANSWERED, History, HistoryError, PAUSED, TASKS, access};

impl History {
    /// The tasks that requests made, by their ids.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn tasks(&self) -> Result<Vec<Task>, HistoryError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let table = transaction.open_table(TASKS).map_err(access)?;
        let mut tasks = Vec::new();
        for entry in table.iter().map_err(access)? {
            tasks.push(serde_json::from_slice(entry.map_err(access)?.1.value())?);
        }
        Ok(tasks)
    }

    /// Keeps a task in place of the one of the same id, synced.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; what was kept before stays then.
    pub fn keep_task(&self, task: &Task) -> Result<(), HistoryError> {
        let text = serde_json::to_vec(task)?;
        self.write(|transaction| {
            let mut table = transaction.open_table(TASKS).map_err(access)?;
            table.insert(task.id.as_str(), text.as_slice()).map_err(access)?;
            Ok(())
        })
    }

    /// Forgets a task, its pause and up to which tick it was answered, in one synced transaction.
    /// Its runs stay.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing is forgotten then.
    pub fn forget_task(&self, task: &str) -> Result<(), HistoryError> {
        self.write(|transaction| {
            transaction.open_table(TASKS).map_err(access)?.remove(task).map_err(access)?;
            transaction.open_table(PAUSED).map_err(access)?.remove(task).map_err(access)?;
            transaction.open_table(ANSWERED).map_err(access)?.remove(task).map_err(access)?;
            Ok(())
        })
    }

    /// Has the tasks and pauses that another scheduler keeps in place of those here, synced. Of
    /// tasks that are gone or paused it is forgotten up to which tick they were answered, as if each
    /// had been asked for here.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing is changed then.
    pub fn adopt(
        &self,
        tasks: &[Task],
        paused: &BTreeMap<String, i64>,
    ) -> Result<(), HistoryError> {
        self.write(|transaction| {
            let mut kept = transaction.open_table(TASKS).map_err(access)?;
            let mut pauses = transaction.open_table(PAUSED).map_err(access)?;
            let mut answered = transaction.open_table(ANSWERED).map_err(access)?;
            let ids: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
            let mut passed: Vec<String> = paused.keys().cloned().collect();
            let stays = |id: &str, passed: &mut Vec<String>| {
                let stays = ids.contains(id);
                if !stays {
                    passed.push(id.to_owned());
                }
                stays
            };
            kept.retain(|id, _| stays(id, &mut passed)).map_err(access)?;
            for task in tasks {
                let text = serde_json::to_vec(task)?;
                kept.insert(task.id.as_str(), text.as_slice()).map_err(access)?;
            }
            pauses.retain(|id, _| paused.contains_key(id)).map_err(access)?;
            for (task, since) in paused {
                pauses.insert(task.as_str(), *since).map_err(access)?;
            }
            for task in &passed {
                answered.remove(task.as_str()).map_err(access)?;
            }
            Ok(())
        })
    }

    /// The paused tasks, and since when.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub fn paused(&self) -> Result<BTreeMap<String, i64>, HistoryError> {
        let transaction = self.database.begin_read().map_err(access)?;
        let table = transaction.open_table(PAUSED).map_err(access)?;
        let mut paused = BTreeMap::new();
        for entry in table.iter().map_err(access)? {
            let (task, since) = entry.map_err(access)?;
            paused.insert(task.value().to_owned(), since.value());
        }
        Ok(paused)
    }

    /// Pauses a task since `since`, synced. In the same transaction it is forgotten up to which tick
    /// the task was answered: ticks that pass during a pause are never owed.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; nothing is written then.
    pub fn pause(&self, task: &str, since: i64) -> Result<(), HistoryError> {
        self.write(|transaction| {
            transaction.open_table(PAUSED).map_err(access)?.insert(task, since).map_err(access)?;
            transaction.open_table(ANSWERED).map_err(access)?.remove(task).map_err(access)?;
            Ok(())
        })
    }

    /// Ends the pause of a task, synced.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]; the task is still paused then.
    pub fn unpause(&self, task: &str) -> Result<(), HistoryError> {
        self.write(|transaction| {
            transaction.open_table(PAUSED).map_err(access)?.remove(task).map_err(access)?;
            Ok(())
        })
    }
}
