//! MetalLB's contract with its users, rule by rule: tables of little stories, each with the
//! section of the contract that it is about. The language of the stories is in `world.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod allocation;
mod dual_stack;
mod events;
mod requests;
mod sharing;
mod stability;
mod world;

/// A section, what happens one after the other, and what the last of it leads to.
type Case = (&'static str, &'static str, &'static str);

/// Plays every story of a table and compares.
fn play(table: &[Case]) {
    let failed: Vec<String> = table
        .iter()
        .filter_map(|(section, story, expected)| {
            let seen = world::World::play(story);
            (seen != *expected)
                .then(|| format!("{section}: {story}\n  expected {expected}\n  seen     {seen}"))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), table.len(), failed.join("\n"));
}

#[test]
fn the_tables_have_the_cases_that_were_promised() {
    let tables = [
        requests::TABLES,
        allocation::TABLES,
        sharing::TABLES,
        dual_stack::TABLES,
        stability::TABLES,
        events::TABLES,
    ];
    let cases: Vec<&Case> = tables.into_iter().flatten().copied().flatten().collect();
    assert!(cases.len() >= 150, "{}", cases.len());
    assert!(cases.iter().all(|(section, ..)| section.starts_with('§')));
}
