//! Tables: aligned columns without borders, wrapped to nothing, so that they can be cut and searched.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of a header and rows.
pub(crate) fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: impl IntoIterator<Item = [String; COLUMNS]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if header.iter().any(|h| !h.is_empty()) {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let text = table(["NAME", "SIZE"], [["a".into(), "1".into()], ["longer".into(), "22".into()]]);
        assert_eq!(text, "NAME    SIZE\na       1\nlonger  22");
    }
}
