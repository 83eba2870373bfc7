//! What the process must be allowed to do, checked before anything is tried: the kernel's own
//! "operation not permitted" does not say which right is missing.

/// Number and name (capability.h), and what it is for.
const NEEDED: [(u32, &str, &str); 4] = [
    (39, "CAP_BPF", "make maps and load the program"),
    (12, "CAP_NET_ADMIN", "attach the program and join groups"),
    (13, "CAP_NET_RAW", "send gratuitous frames"),
    (38, "CAP_PERFMON", "pass the verifier, which otherwise forbids pointer arithmetic"),
];
/// Comprises BPF and PERFMON (capabilities(7)).
const SYS_ADMIN: u32 = 21;

/// The capabilities that this process lacks, and what each is for; empty where that is not known.
pub(crate) fn missing() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).map(lacking).unwrap_or_default()
}

fn lacking(held: u64) -> Vec<String> {
    let has = |number: u32| held & (1 << number) != 0;
    let comprised = |number: u32| number >= 38 && has(SYS_ADMIN);
    let lacking = NEEDED.iter().filter(|(number, ..)| !has(*number) && !comprised(*number));
    lacking.map(|(_, name, purpose)| format!("{name} (to {purpose})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_that_is_missing_is_named() {
        let all = NEEDED.iter().fold(0, |set, (number, ..)| set | 1 << number);
        assert!(lacking(all).is_empty());
        for (number, name, _) in NEEDED {
            let found = lacking(all & !(1 << number));
            assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
        }
        assert_eq!(lacking(0).len(), 4);
        assert_eq!(lacking(1 << SYS_ADMIN).len(), 2, "it comprises BPF and PERFMON alone");
    }
}
