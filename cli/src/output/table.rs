//! Tables: aligned columns without borders, wrapped to nothing, so that they can be cut and searched.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of a header and rows; without a header when all of its cells are empty.
pub(crate) fn table<'a, Row: IntoIterator<Item = String>>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Row>,
) -> String {
    let header: Vec<&str> = header.into_iter().collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if header.iter().any(|h| !h.is_empty()) {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<String>>());
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
        let text = table(["NAME", "SIZE"], [["a".to_owned(), "1".into()], ["longer".into(), "22".into()]]);
        assert_eq!(text, "NAME    SIZE\na       1\nlonger  22");
        assert_eq!(table(["", ""], [["name".to_owned(), "x".into()]]), "name  x");
    }
}
