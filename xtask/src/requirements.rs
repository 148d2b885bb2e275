//! `cargo xtask requirements`: which requirement is proved by which test.
//!
//! The list is `docs/requirements.md`; a test proves requirement 17 when its name starts with `r17_`.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser};

use crate::{shape, workspace::Workspace};

const HELP: &str = "\
cargo xtask requirements [--check]

Prints every requirement of docs/requirements.md with the tests that prove it (their names start with
its number: r17_…), and marks those that have none yet. With --check it fails when one that is marked
`delivered` has none, or when a test names a number that is not on the list.";

const LIST: &str = "docs/requirements.md";

pub(crate) fn main(workspace: &Workspace, mut arguments: Parser) -> anyhow::Result<()> {
    let mut check = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("check") => check = true,
            Arg::Short('h') | Arg::Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    report(workspace, check)
}

pub(crate) fn report(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    let text =
        fs::read_to_string(workspace.root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let requirements = parse(&text)?;
    let tests = tests(workspace)?;
    for Requirement { number, title, part, delivered } in &requirements {
        println!("R{number:<3} {title}");
        match (tests.get(number), delivered) {
            (Some(names), _) => names.iter().for_each(|name| println!("       {name}")),
            (None, true) => println!("       NO TEST, yet marked as delivered"),
            (None, false) => println!("       none yet ({part})"),
        }
    }
    let proved = requirements.iter().filter(|each| tests.contains_key(&each.number)).count();
    println!("\n{proved} of {} requirements have tests", requirements.len());
    if check { faults(&requirements, &tests) } else { Ok(()) }
}

/// Test names, each with its file, by the number they start with.
type Tests = BTreeMap<u32, Vec<String>>;

#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    number: u32,
    title: String,
    /// The part of the product that brings it.
    part: String,
    delivered: bool,
}

fn faults(requirements: &[Requirement], tests: &Tests) -> anyhow::Result<()> {
    let bare = requirements.iter().filter(|each| each.delivered && !tests.contains_key(&each.number));
    let bare: Vec<_> = bare.map(|each| format!("R{}", each.number)).collect();
    if !bare.is_empty() {
        bail!("marked as delivered in {LIST}, without a test: {}", bare.join(", "));
    }
    let known = |number: &u32| requirements.iter().any(|each| each.number == *number);
    let stray: Vec<_> =
        tests.iter().filter(|(number, _)| !known(number)).flat_map(|(_, names)| names).collect();
    if !stray.is_empty() {
        bail!("tests named after a number that is not in {LIST}: {stray:?}");
    }
    Ok(())
}

/// The rows `| R17 | title | part | delivered |` of the list, which must count up from 1 without a gap.
fn parse(text: &str) -> anyhow::Result<Vec<Requirement>> {
    let mut requirements = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| R")) {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [number, title, part, state] = cells.as_slice() else {
            bail!("{LIST}: not four cells: {line}");
        };
        let number = number.strip_prefix('R').and_then(|digits| digits.parse().ok());
        let number = number.with_context(|| format!("{LIST}: no number: {line}"))?;
        let delivered = match *state {
            "delivered" => true,
            "" => false,
            other => bail!("{LIST}: R{number} is `{other}`; the last cell is `delivered` or empty"),
        };
        if number as usize != requirements.len() + 1 {
            bail!("{LIST}: R{number} stands where R{} should", requirements.len() + 1);
        }
        requirements.push(Requirement {
            number,
            title: (*title).to_owned(),
            part: (*part).to_owned(),
            delivered,
        });
    }
    Ok(requirements)
}

fn tests(workspace: &Workspace) -> anyhow::Result<Tests> {
    let mut tests = Tests::new();
    for file in shape::files(workspace)? {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(workspace.root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        for (number, name) in test_names(&text) {
            tests.entry(number).or_default().push(format!("{name} ({})", file.display()));
        }
    }
    for names in tests.values_mut() {
        names.sort();
    }
    Ok(tests)
}

/// The functions whose name starts with the number of a requirement, or of several: `r17_return_url_stays_here`,
/// `r10_r16_no_forged_header_goes_up`.
fn test_names(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().flat_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name =
            line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()).unwrap_or_default();
        let words = name.split('_').collect::<Vec<_>>();
        let numbers = words.iter().map_while(|word| number(word)).collect::<Vec<_>>();
        // A name that is nothing but numbers says nothing.
        let said =
            numbers.len() < words.len() && words.get(numbers.len()).is_some_and(|word| !word.is_empty());
        numbers.into_iter().filter(move |_| said).map(move |number| (number, name))
    })
}

/// The number in `r17`; `r07` would be a second spelling of `r7`.
fn number(word: &str) -> Option<u32> {
    let digits = word.strip_prefix('r').filter(|digits| !digits.starts_with('0'))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| no | title | part | state |\n| --- | --- | --- | --- |\n\
        | R1 | one | spine | delivered |\n| R2 | two | gate | |\n";

    #[test]
    fn rows_are_read_and_a_gap_is_refused() {
        let rows = parse(TABLE).unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].delivered && !rows[1].delivered);
        assert_eq!(rows[1].part, "gate");
        assert!(parse("| R1 | one | spine | |\n| R3 | three | gate | |").is_err());
        assert!(parse("| R1 | one | spine | maybe |").is_err());
    }

    #[test]
    fn test_functions_are_found_by_their_number() {
        let text = "    fn r4_paths(raw in any()) {\nasync fn r17_x() {\nfn r_none() {\nfn ready_2() {\nfn r05_x() {\n";
        assert_eq!(test_names(text).collect::<Vec<_>>(), [(4, "r4_paths"), (17, "r17_x")]);
        let several = "fn r10_r16_both() {\nfn r7_() {\nfn r8_r9() {\n";
        assert_eq!(test_names(several).collect::<Vec<_>>(), [(10, "r10_r16_both"), (16, "r10_r16_both")]);
    }

    #[test]
    fn delivered_without_a_test_and_a_test_without_a_requirement_are_faults() {
        let rows = parse(TABLE).unwrap();
        let named = |number: u32| (number, vec![format!("r{number}_holds")]);
        faults(&rows, &Tests::from([named(1)])).unwrap();
        assert!(faults(&rows, &Tests::new()).unwrap_err().to_string().ends_with("R1"));
        assert!(faults(&rows, &Tests::from([named(1), named(99)])).is_err());
    }
}
