//! What a restore of a database loses: told before, from what the backup's evidence says, and after, row by row.

use serde::{Deserialize, Serialize};

use crate::{Backup, Timestamp};

/// What the present database has and a restored one has not, and the other way round. Every text is bounded by
/// [`crate::limits::BACKUP_TEXT_BYTES_MAX`], every list by [`crate::limits::LOSS_LINES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The backup, as its host has it.
    pub evidence: Backup,
    /// When both were looked at, by the host's clock.
    pub looked_at: Timestamp,
    /// Whether both databases were there and nobody wrote: what is told is all, and exact. Otherwise the numbers of rows alone are compared.
    pub exact: bool,
    /// Tables that differ.
    pub tables: Vec<TableLoss>,
    /// How many more differ.
    pub more: u32,
    /// How many do not.
    pub same: u32,
    /// What else differs, a line for each: tables and columns that go or come back.
    pub shape: Vec<String>,
    /// Migrations that are not applied any more afterwards, such as `customers.0004_note`.
    pub migrations: Vec<String>,
    /// What else there is to know, a line for each.
    pub notes: Vec<String>,
    /// What the present database is called from then on; empty while it is in its place.
    pub kept_as: String,
}

/// What becomes of the rows of a table. What is not known is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLoss {
    /// Its name, with its schema.
    pub name: String,
    /// Rows that the backup has.
    pub then: Option<u64>,
    /// Rows that the present database has.
    pub now: Option<u64>,
    /// Rows of the present database that the restored one has not, by their primary keys.
    pub lost: Option<u64>,
    /// Rows that both have, with other values: those of the backup hold again.
    pub changed: Option<u64>,
    /// Rows that the present database has not, and that come back.
    pub returned: Option<u64>,
}

impl TableLoss {
    /// In words, such as `orders_order: 12 rows are lost, 3 have older values again`.
    #[must_use]
    pub fn words(&self, exact: bool) -> String {
        let name = &self.name;
        let counted = |number: u64, one: &str, many: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {many}") };
        if exact && self.lost.is_some() {
            let parts = [
                self.lost.map(|count| (count, counted(count, "row is lost", "rows are lost"))),
                self.changed.map(|count| (count, counted(count, "row has older values again", "rows have older values again"))),
                self.returned.map(|count| (count, counted(count, "deleted row is back", "deleted rows are back"))),
            ];
            let told: Vec<String> = parts.into_iter().flatten().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
            return format!("{name}: {}", told.join(", "));
        }
        match (self.then, self.now) {
            (Some(then), Some(now)) if now > then => {
                format!("{name}: {now} rows now, {then} in the backup: at least {} are lost", now - then)
            }
            (Some(then), Some(now)) => format!("{name}: {now} rows now, {then} in the backup"),
            (Some(then), None) => format!("{name}: it is back, with {then} rows"),
            (None, Some(now)) if self.lost.is_some() => format!("{name}: {now} rows now, the backup has no such table: all are lost"),
            (None, Some(now)) => format!("{name}: {now} rows now, the backup does not say how many then"),
            (None, None) => format!("{name}: nothing is known of its rows"),
        }
    }
}

impl Loss {
    /// Rows that are lost, as far as they are counted one by one.
    #[must_use]
    pub fn rows_lost(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.lost).sum()
    }

    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        let sum = |of: fn(&TableLoss) -> Option<u64>| self.tables.iter().filter_map(of).sum::<u64>();
        let since = self.looked_at.since(self.evidence.taken_at);
        if self.exact {
            let (lost, changed, returned) = (self.rows_lost(), sum(|t| t.changed), sum(|t| t.returned));
            return format!(
                "{lost} rows lost, {changed} with older values, {returned} deleted ones back, in {} tables; what was written in the {since} since {}",
                self.tables.len() + self.more as usize,
                self.evidence.name
            );
        }
        let more: u64 = self.tables.iter().map(|t| t.now.unwrap_or(0).saturating_sub(t.then.unwrap_or(0))).sum();
        format!("what was written in the {since} since {}: at least {more} rows", self.evidence.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(then: Option<u64>, now: Option<u64>, exact: Option<(u64, u64, u64)>) -> TableLoss {
        let of = |part: fn((u64, u64, u64)) -> u64| exact.map(part);
        TableLoss { name: "public.t".to_owned(), then, now, lost: of(|e| e.0), changed: of(|e| e.1), returned: of(|e| e.2) }
    }

    #[test]
    fn what_is_lost_of_a_table_is_told_as_it_is_known() {
        let of = |exact, table: TableLoss| table.words(exact);
        assert_eq!(of(true, table(Some(1), Some(3), Some((2, 1, 0)))), "public.t: 2 rows are lost, 1 row has older values again");
        assert_eq!(of(true, table(Some(1), Some(3), Some((1, 0, 4)))), "public.t: 1 row is lost, 4 deleted rows are back");
        assert_eq!(of(false, table(Some(1), Some(3), None)), "public.t: 3 rows now, 1 in the backup: at least 2 are lost");
        assert_eq!(of(true, table(Some(4), Some(3), None)), "public.t: 3 rows now, 4 in the backup");
        assert!(of(false, table(None, Some(3), None)).contains("does not say"));
        assert!(of(false, table(None, Some(3), Some((3, 0, 0)))).contains("no such table"));
        assert!(of(true, table(Some(3), None, None)).contains("is back"));
    }
}
