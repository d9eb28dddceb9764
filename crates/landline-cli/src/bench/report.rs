//! A run as one HTML file, which needs nothing but itself.

mod chart;
mod charts;

use landline::event::Charset;

use crate::bench::figures;
use crate::bench::report::chart::Chart;
use crate::bench::summary::Summary;
use crate::bench::tables::{self, micro, safe};
use crate::bench::verdict::Verdict;

const STYLE: &str = include_str!("report/page.css");

/// The whole page.
pub(crate) fn render(summary: &Summary) -> String {
    let title = outside(&summary.run.target);
    let parts = [
        head(&title),
        introduction(summary, &title),
        notes(summary),
        highlights(summary),
        conditions(summary),
        figure("Latency by percentile", &charts::percentiles(summary)),
        figure("Latency over time", &charts::latency(summary)),
        figure("Replies over time", &charts::rate(summary)),
        figure("Errors over time", &charts::errors(summary)),
        heading("Latency") + &table(&tables::latencies(summary), true),
        heading("Counts") + &table(&tables::counts(summary), false),
        tables::remarks(summary).iter().map(|remark| paragraph(&ours(remark))).collect(),
        format!("<footer>landline {}</footer>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION")),
    ];
    parts.concat()
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} - landline bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    )
}

fn introduction(summary: &Summary, title: &str) -> String {
    let run = &summary.run;
    let setting = ours(&tables::setting(summary).join(" \u{b7} "));
    let (payload, expect) = (outside(&run.payload), outside(&run.expect));
    let when = format!("{}, {}", outside(&run.started), figures::time(summary.lasted));
    let sent = format!("sent {payload}, expected {expect}");
    format!("<h1>{title}</h1>\n<p class=\"quiet\">{when}</p>\n") + &paragraph(&setting) + &paragraph(&sent)
}

fn notes(summary: &Summary) -> String {
    let verdicts = Verdict::of(summary);
    let note = |verdict: &Verdict| format!("<p class=\"note\">{}</p>\n", ours(&verdict.to_string()));
    verdicts.iter().map(note).collect::<Vec<_>>().concat()
}

/// What one wants to know first.
fn highlights(summary: &Summary) -> String {
    let quantile =
        |share: f64| summary.latency().quantile(share).map_or_else(|| "-".to_owned(), figures::column);
    let rate = format!("{}/s", figures::per_second(summary.rate()));
    let errors = figures::percent(summary.error_rate());
    let all = [("rate", rate), ("p50", quantile(0.5)), ("p99", quantile(0.99)), ("errors", errors)];
    let all = all.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", ours(&value)));
    format!("<dl>\n{}</dl>\n", all.concat())
}

/// Nothing, unless there were conditions.
fn conditions(summary: &Summary) -> String {
    let rows = tables::conditions(summary);
    if rows.is_empty() {
        return String::new();
    }
    let table = table(&rows, true).replace("<td>failed<", "<td class=\"failed\">failed<");
    heading("Conditions") + &table
}

fn figure(title: &str, chart: &Chart) -> String {
    let key = |line: &chart::Line| {
        format!("<span class=\"key\"><i class=\"{}\"></i>{}</span>", line.ink.name(), line.name)
    };
    let keys: Vec<String> = chart.lines.iter().map(key).collect();
    let svg = chart::draw(chart).replacen("<svg ", &format!("<svg aria-label=\"{title}\" "), 1);
    let heading = heading(title);
    format!("{heading}<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>\n", keys.concat())
}

fn heading(title: &str) -> String {
    format!("<h2>{title}</h2>\n")
}

fn paragraph(text: &str) -> String {
    format!("<p>{text}</p>\n")
}

/// Rows of cells, the first of which may be the head.
fn table(rows: &[Vec<String>], headed: bool) -> String {
    let row = |row: &Vec<String>, cell: &str| {
        let cells = row.iter().map(|text| format!("<{cell}>{}</{cell}>", ours(text)));
        format!("<tr>{}</tr>\n", cells.collect::<Vec<_>>().concat())
    };
    let (head, body) = rows.split_at(usize::from(headed && !rows.is_empty()));
    let head = head.iter().map(|cells| format!("<thead>\n{}</thead>\n", row(cells, "th")));
    let body: Vec<String> = body.iter().map(|cells| row(cells, "td")).collect();
    let head: Vec<String> = head.collect();
    format!(
        "<div class=\"scroll\"><table>\n{}<tbody>\n{}</tbody>\n</table></div>\n",
        head.concat(),
        body.concat()
    )
}

/// Our own words and figures.
fn ours(text: &str) -> String {
    escaped(&micro(text, Charset::Utf8))
}

/// Text from outside: nothing in it is markup, steers the direction of writing or is invisible.
fn outside(text: &str) -> String {
    escaped(&safe(text, Charset::Utf8))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::samples::{closed, open};
    use std::time::Duration;

    /// Fails unless every element is closed, in order.
    fn check_tags(page: &str) {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1).map(|rest| rest.split_once('>').expect("a tag ends").0) {
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            match tag {
                _ if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
                _ => open.push(name),
            }
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn the_page_is_well_formed_and_has_its_four_charts() {
        for summary in [open(), closed()] {
            let page = render(&summary);
            check_tags(&page);
            assert_eq!(page.matches("<svg ").count(), 4);
            for title in
                ["Latency by percentile", "Latency over time", "Replies over time", "Errors over time"]
            {
                assert_eq!(page.matches(&format!("<svg aria-label=\"{title}\" ")).count(), 1);
            }
            assert!(
                page.contains("prefers-color-scheme: dark") && page.contains("<td>  connection reset</td>")
            );
        }
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = render(&open());
        for outside in ["http", "//", "url(", "@import", "<script", "<link", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_never_markup() {
        let mut summary = open();
        for text in [&mut summary.run.target, &mut summary.run.payload, &mut summary.run.expect] {
            *text = "<script>alert('\u{202e}&\"')</script>".to_owned();
        }
        let page = render(&summary);
        check_tags(&page);
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert!(page.contains(r"<h1>&lt;script&gt;alert(&#39;\u{202e}&amp;&quot;&#39;)&lt;/script&gt;</h1>"));
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_a_page_all_the_same() {
        for lasted in [Duration::ZERO, Duration::from_millis(3), Duration::from_secs(100_000)] {
            let page = render(&Summary::new(closed().run, lasted, []));
            check_tags(&page);
            assert!(page.contains("no right reply came") && page.len() < 1 << 20);
        }
    }

    #[test]
    fn conditions_stand_with_what_was_measured_and_whether_they_fail_the_run() {
        let page = render(&open());
        for row in [
            "<td>max&gt;1h</td><td>15.01ms</td><td>passed</td>",
            "<td>errors&gt;0</td><td>10</td><td class=\"failed\">failed</td>",
        ] {
            assert!(page.contains(row), "{row}");
        }
        assert!(!render(&closed()).contains("Conditions"), "there were none");
    }

    #[test]
    fn every_colour_of_the_charts_has_another_in_the_dark() {
        let page = render(&open());
        let (_, charts) = page.split_once("</style>").unwrap();
        for color in charts.split("=\"#").skip(1).map(|rest| &rest[..6]) {
            assert!(STYLE.contains(&format!("=\"#{color}\"]")), "{color}");
        }
    }
}
