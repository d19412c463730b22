//! As much Markdown as our pages use: sections, tables, code in the text, fenced blocks, links.

/// What stands under the heading of this text, down to the next heading of any level.
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page
        .match_indices('#')
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || page.as_bytes()[at - 1] == b'\n')
        .find(|at| page[*at..].lines().next().is_some_and(|line| title(line) == Some(heading)));
    let body = &page[start.unwrap_or_else(|| panic!("no heading `{heading}`"))..];
    let body = body.split_once('\n').map_or("", |(_, body)| body);
    body.find("\n#").map_or(body, |end| &body[..end])
}

fn title(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#').strip_prefix(' ')?;
    line.starts_with('#').then(|| text.trim())
}

/// The anchors of a page's headings, as its viewers make them.
pub(crate) fn anchors(page: &str) -> Vec<String> {
    let slug = |title: &str| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    prose(page).lines().filter_map(title).map(slug).collect()
}

/// All rows of all tables of a section, heads left out; cells are trimmed.
pub(crate) fn rows(section: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = section.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|-");
    let cells = |line: &&str| {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
        line.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    lines
        .iter()
        .enumerate()
        .filter(|(i, line)| line.starts_with('|') && !is_rule(line) && !lines.get(i + 1).is_some_and(is_rule))
        .map(|(_, line)| cells(line))
        .collect()
}

/// What stands in backticks.
pub(crate) fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The lines of all fenced blocks that are opened with this word or words.
pub(crate) fn fenced<'a>(page: &'a str, info: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut open = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(opened), None) => open = Some(opened == info),
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => found.push(line),
            (None, _) => {}
        }
    }
    found
}

/// A page without its fenced blocks.
pub(crate) fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Where the links of a page lead.
pub(crate) fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    // Code is no link, though it may look like one.
    let text: String = prose.split('`').step_by(2).collect();
    let target = |rest: &str| rest.split_once(')').map(|(target, _)| target.to_owned());
    text.split("](").skip(1).filter_map(target).collect()
}

#[test]
fn pages_are_read_as_they_are_meant() {
    let page = "# A\n\n## B c, d\nx [l](a.md) `[n](b.md)`\n\n| h | i |\n|---|---|\n| `a` | b \\| c |\n| | `d` `e` |\n\
                \n```json client\n{}\n[x](c.md)\n# no\n```\n\n### E\ny";
    assert_eq!(section(page, "E"), "y");
    assert!(
        section(page, "B c, d").starts_with("x [l]")
            && section(page, "B c, d").trim_end().ends_with("[x](c.md)")
    );
    assert_eq!(rows(page), [["`a`", "b | c"], ["", "`d` `e`"]]);
    assert_eq!(code("`a` b `c`"), ["a", "c"]);
    assert_eq!(fenced(page, "json client"), ["{}", "[x](c.md)", "# no"]);
    assert_eq!(fenced(page, "json"), Vec::<&str>::new());
    assert_eq!(links(page), ["a.md"]);
    assert_eq!(anchors(page), ["a", "b-c-d", "e"]);
}
