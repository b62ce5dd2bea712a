//! Formats the catalog as a table.

use std::fmt::Write;

use iotpi_hal::catalog;

const HEAD: [&str; 5] = ["driver", "what it is", "quantities or actions", "connects to", "bus"];

/// One line for each driver of this build, with aligned columns.
pub fn table() -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(catalog::entries().map(|entry| {
        let built = entry.buses.iter().filter(|bus| bus.is_built());
        [
            entry.name.to_owned(),
            entry.title.to_owned(),
            entry.offers.join(", "),
            entry.connects.to_owned(),
            built.map(|bus| bus.as_str()).collect::<Vec<_>>().join(", "),
        ]
    }));
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in &rows {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing into a String cannot fail.
        let _ = writeln!(table, "{}", line.join("  ").trim_end());
    }
    table
}
