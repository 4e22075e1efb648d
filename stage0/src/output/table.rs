//! Columns aligned with tabs, as Go's text/tabwriter does with a minimal width of 0, a tab width
//! of 8, a padding of 1 and tabs for filling: scripts written against the original cut its output
//! at these tabs.

const TAB: usize = 8;
const PADDING: usize = 1;

/// Aligns text whose cells end in tabs. The last cell of a line belongs to no column; a column is
/// as wide as its widest cell in a run of lines that all have it.
pub(crate) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|l| l.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|l| vec![0; l.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let run = widths[start..]
                .iter()
                .take_while(|w| w.len() > column)
                .count();
            let widest = lines[start..start + run]
                .iter()
                .map(|l| l[column].chars().count())
                .max()
                .unwrap_or(0);
            let width = (widest + PADDING).div_ceil(TAB) * TAB;
            widths[start..start + run]
                .iter_mut()
                .for_each(|w| w[column] = width);
            start += run;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (number, (line, widths)) in lines.iter().zip(&widths).enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for (cell, width) in line.iter().zip(widths) {
            out.push_str(cell);
            let tabs = (width - cell.chars().count()).div_ceil(TAB);
            out.extend(std::iter::repeat_n('\t', tabs));
        }
        out.push_str(line.last().unwrap_or(&""));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_at_tab_stops() {
        assert_eq!(
            align("UUID\tAPP\tSTATE\n12345678\tredis\trunning\n\tetcd\n"),
            "UUID\t\tAPP\tSTATE\n12345678\tredis\trunning\n\t\tetcd\n"
        );
    }

    #[test]
    fn a_line_without_the_column_ends_a_run() {
        assert_eq!(
            align("a\tb\nplain\nlonger-than-8\tb\n"),
            "a\tb\nplain\nlonger-than-8\tb\n"
        );
        assert_eq!(align(""), "");
    }
}
