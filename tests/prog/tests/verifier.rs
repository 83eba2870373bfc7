//! That the shipped program suits Linux 5.15, as far as another kernel can show it:
//! its instructions and helpers are that old, and it is far from the verifier's limit.

use std::collections::{BTreeMap, BTreeSet};

use aya::Ebpf;
use aya::programs::{SchedClassifier, Xdp};
use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use clarion_abi::names;
use clarion_prog_tests::sandbox;

/// Helpers that the program may call, by number (linux/bpf.h), with the version that
/// brought each. A new one belongs here only if 5.15 has it for that kind of program.
const HELPERS: [(i32, &str, (u8, u8)); 5] = [
    (1, "bpf_map_lookup_elem", (3, 19)),
    (118, "bpf_jiffies64", (5, 6)),
    (125, "bpf_ktime_get_boot_ns", (5, 8)),
    (131, "bpf_ringbuf_reserve", (5, 8)),
    (132, "bpf_ringbuf_submit", (5, 8)),
];
/// Those that only one kind of program has.
const OF_XDP: [(i32, &str, (u8, u8)); 1] = [(65, "bpf_xdp_adjust_tail", (4, 18))];
const OF_TC: [(i32, &str, (u8, u8)); 3] =
    [(23, "bpf_redirect", (4, 4)), (38, "bpf_skb_change_tail", (4, 9)), (39, "bpf_skb_pull_data", (4, 9))];
const LOWEST: (u8, u8) = (5, 15);

/// The kernel gives up after a million instructions looked at. Other versions prune
/// otherwise and look at more: hence a tenth.
const MOST_VERIFIED: u32 = 100_000;

/// An atomic exchange: the only full barrier that a program can have. Linux 5.12, but
/// arm64 compiles it only since 5.18, which is the lowest kernel there.
const EXCHANGE: i32 = 0xe1;

/// Instruction classes, and what of their codes and fields is newer than 5.15 or not
/// to be had on both architectures (linux/bpf_common.h, linux/bpf.h).
fn newer(instruction: &bpf_insn) -> Option<&'static str> {
    let code = instruction.code;
    match code & 7 {
        1 if code & 0xe0 == 0x80 => Some("a load with sign extension (6.6)"),
        3 if code & 0xe0 == 0xc0 && !matches!(instruction.imm, 0 | EXCHANGE) => {
            Some("an atomic operation other than addition and exchange")
        }
        4 | 7 if code & 0xf0 == 0xb0 && instruction.off != 0 => Some("a move with sign extension (6.6)"),
        4 | 7 if matches!(code & 0xf0, 0x30 | 0x90) && instruction.off != 0 => Some("signed division (6.6)"),
        7 if code & 0xf0 == 0xd0 => Some("an unconditional byte swap (6.6)"),
        5 if code == 0xe5 => Some("may_goto (6.10)"),
        6 if code == 0x06 => Some("a long jump (6.6)"),
        _ => None,
    }
}

/// What an instruction calls, if it does.
fn call(instruction: &bpf_insn) -> Option<Result<i32, &'static str>> {
    (instruction.code == 0x85).then(|| match instruction.src_reg() {
        0 => Ok(instruction.imm),
        1 => Err("a function of the program: everything should be inlined"),
        _ => Err("a kernel function (kfunc), which 5.15 has not for XDP"),
    })
}

fn instructions(name: &str) -> Vec<bpf_insn> {
    let object = Object::parse(clarion_dataplane::object()).expect("an object");
    let function = object.functions.values().find(|function| function.name == name);
    function.unwrap_or_else(|| panic!("no program {name}")).instructions.clone()
}

#[test]
fn no_helper_and_no_instruction_is_newer_than_the_lowest_kernel() {
    let programs: [(&str, &[_]); 3] =
        [(names::PROGRAM, &OF_XDP), (names::PROGRAM_FRAGS, &OF_XDP), (names::PROGRAM_TC, &OF_TC)];
    for (name, more) in programs {
        let helpers = HELPERS.iter().chain(more);
        let known: BTreeMap<i32, (&str, (u8, u8))> =
            helpers.map(|(number, name, since)| (*number, (*name, *since))).collect();
        assert!(known.values().all(|(_, since)| *since <= LOWEST), "{known:?}");
        let instructions = instructions(name);
        let mut called = BTreeSet::new();
        // The second half of a wide load is no instruction.
        let mut wide = false;
        for (at, instruction) in instructions.iter().enumerate() {
            if std::mem::replace(&mut wide, instruction.code == 0x18) {
                wide = false;
                continue;
            }
            assert_eq!(newer(instruction), None, "{name}, instruction {at}");
            if let Some(call) = call(instruction) {
                let helper = call.unwrap_or_else(|what| panic!("{name}, instruction {at} calls {what}"));
                assert!(known.contains_key(&helper), "{name}, instruction {at} calls helper {helper}");
                called.insert(helper);
            }
        }
        assert_eq!(called, known.keys().copied().collect(), "{name}: the table names what is not called");
    }
}

#[test]
fn instructions_that_are_too_new_are_told() {
    let table: [(u8, i16, i32, bool); 9] = [
        (0x81, 0, 0, true),
        (0x61, 4, 0, false),
        (0xdb, 0, 0, false),
        (0xdb, 0, 1, true),
        (0xdb, 0, EXCHANGE, false),
        (0xbc, 8, 0, true),
        (0xbc, 0, 0, false),
        (0xd7, 0, 16, true),
        (0x06, 0, 5, true),
    ];
    for (code, off, imm, expected) in table {
        let mut instruction = instructions(names::PROGRAM)[0];
        (instruction.code, instruction.off, instruction.imm) = (code, off, imm);
        assert_eq!(newer(&instruction).is_some(), expected, "{code:#x} {off} {imm}");
    }
}

#[test]
fn all_programs_load_and_are_far_from_the_verifiers_limit() {
    let check = |name: &str, verified: Option<u32>| {
        let verified = verified.expect("this test needs Linux 5.16, which counts");
        println!("{name}: {verified} instructions looked at");
        assert!(verified < MOST_VERIFIED, "{name}: {verified} instructions were looked at");
    };
    sandbox::enter(|_| {
        let mut ebpf = Ebpf::load(clarion_dataplane::object())?;
        for name in [names::PROGRAM, names::PROGRAM_FRAGS] {
            let program: &mut Xdp = ebpf.program_mut(name).expect("there").try_into()?;
            program.load()?;
            check(name, program.info()?.verified_instruction_count());
        }
        let name = names::PROGRAM_TC;
        let program: &mut SchedClassifier = ebpf.program_mut(name).expect("there").try_into()?;
        program.load()?;
        check(name, program.info()?.verified_instruction_count());
        Ok(())
    })
    .unwrap();
}
