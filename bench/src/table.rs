//! The result as an aligned table for a terminal.

use crate::measure::Measurement;

/// Titles of the columns; docs/performance.md says what they mean.
const TITLES: [&str; 10] = [
    "workload",
    "server",
    "IOPS",
    "MB/s",
    "mean us",
    "p50 us",
    "p99 us",
    "CPU us/op",
    "calls/op",
    "IOPS ratio",
];
/// Columns with text; the others hold numbers and are aligned at the right.
const TEXT_COLUMNS: usize = 2;
/// What stands where nothing could be measured.
const NOTHING: &str = "-";

/// All measurements of one contender with one workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// The workload's name.
    pub(crate) workload: &'static str,
    /// The contender's name.
    pub(crate) contender: &'static str,
    /// One for each round; never empty.
    pub(crate) rounds: Vec<Measurement>,
}

impl Cell {
    fn median(&self, of: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.rounds.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn iops(&self) -> Option<f64> {
        self.median(|one| Some(one.client.iops))
    }
}

/// The table: each column is the median over the rounds; the ratio compares with the cell of the
/// contender `yardstick` and the same workload.
pub(crate) fn table(cells: &[Cell], yardstick: &str) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    for cell in cells {
        let is_measure =
            |other: &&Cell| other.workload == cell.workload && other.contender == yardstick;
        let measure = cells.iter().find(is_measure).and_then(Cell::iops);
        let ratio = cell.iops().zip(measure).map(|(own, other)| own / other);
        rows.push([
            cell.workload.to_owned(),
            cell.contender.to_owned(),
            shown(cell.iops(), 0),
            shown(cell.median(|one| Some(one.client.bytes_per_s / 1e6)), 1),
            shown(cell.median(|one| Some(one.client.mean_us)), 0),
            shown(cell.median(|one| Some(one.client.p50_us)), 0),
            shown(cell.median(|one| Some(one.client.p99_us)), 0),
            shown(cell.median(|one| Some(one.cpu_us_per_op)), 1),
            shown(cell.median(|one| one.calls_per_op), 2),
            shown(ratio, 2),
        ]);
    }
    aligned(&rows)
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.decimals$}"))
}

fn aligned(rows: &[[String; TITLES.len()]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; TITLES.len()] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let fields = row.iter().zip(widths).enumerate().map(|(column, (text, width))| {
            if column < TEXT_COLUMNS {
                format!("{text:<width$}")
            } else {
                format!("{text:>width$}")
            }
        });
        out.push_str(fields.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fio_report::ClientView;

    fn measurement(iops: f64, calls_per_op: Option<f64>) -> Measurement {
        let (mean_us, p50_us, p99_us) = (1.0, 2.0, 3.0);
        let client = ClientView { ops: 10.0, iops, bytes_per_s: 5e6, mean_us, p50_us, p99_us };
        Measurement { client, cpu_us_per_op: 7.25, calls_per_op }
    }

    fn cell(contender: &'static str, iops: &[f64], calls_per_op: Option<f64>) -> Cell {
        let rounds = iops.iter().map(|&iops| measurement(iops, calls_per_op)).collect();
        Cell { workload: "w", contender, rounds }
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_what_was_not_measured_is_a_dash() {
        let cells = [cell("own", &[900.0, 300.0, 10.0], None), cell("rival", &[200.0], Some(2.0))];
        let text = table(&cells, "rival");
        let fields: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(fields[1], ["w", "own", "300", "5.0", "1", "2", "3", "7.2", "-", "1.50"]);
        assert_eq!(fields[2][8..], ["2.00", "1.00"]);
        assert_eq!(
            table(&cells[..1], "rival").lines().nth(1).unwrap().split(' ').next_back(),
            Some("-")
        );
    }

    #[test]
    fn every_line_ends_in_the_same_column() {
        let cells = [cell("own", &[1e6], Some(100.0)), cell("rival", &[1.0], Some(2.0))];
        let text = table(&cells, "rival");
        let ends: Vec<usize> = text.lines().map(str::len).collect();
        assert!(ends.iter().all(|&end| end == ends[0]), "{text}");
    }
}
