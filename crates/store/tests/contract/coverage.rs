//! The suite's own completeness: a method that no test calls is where two databases drift apart.

/// The tests' texts. A file that is not named here does not count.
const TESTS: [&str; 17] = [
    include_str!("accounts.rs"),
    include_str!("agents.rs"),
    include_str!("audit.rs"),
    include_str!("authors.rs"),
    include_str!("changes.rs"),
    include_str!("concurrency.rs"),
    include_str!("credentials.rs"),
    include_str!("cuts.rs"),
    include_str!("imports.rs"),
    include_str!("internal.rs"),
    include_str!("keys.rs"),
    include_str!("logins.rs"),
    include_str!("support.rs"),
    include_str!("tokens.rs"),
    include_str!("upkeep.rs"),
    include_str!("users.rs"),
    include_str!("workers.rs"),
];

/// The public methods of the two handles, as their source says.
fn methods() -> Vec<&'static str> {
    [
        include_str!("../../src/agents.rs"),
        include_str!("../../src/cuts.rs"),
        include_str!("../../src/keys.rs"),
        include_str!("../../src/logins.rs"),
        include_str!("../../src/store.rs"),
        include_str!("../../src/vault.rs"),
        include_str!("../../src/workers.rs"),
    ]
    .into_iter()
    .flat_map(str::lines)
    .filter_map(|line| {
        let line = line.trim_start();
        let name = line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn "))?;
        name.split(['(', '<']).next()
    })
    .collect()
}

#[test]
fn every_public_method_is_called_by_a_test() {
    let methods = methods();
    for known in ["ping", "events", "mint", "revision", "changes_since"] {
        assert!(methods.contains(&known), "the list of methods is read wrongly: {methods:?}");
    }
    let called = |method: &str| {
        let calls = [format!(".{method}("), format!("::{method}(")];
        TESTS.iter().any(|text| calls.iter().any(|call| text.contains(call)))
    };
    let missing: Vec<_> = methods.into_iter().filter(|method| !called(method)).collect();
    assert_eq!(missing, [""; 0], "no test calls these");
}
