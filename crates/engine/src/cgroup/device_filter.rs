//! cgroup v2 has no devices files: a small BPF program decides (BPF_PROG_TYPE_CGROUP_DEVICE). It is assembled here, since it is
//! a chain of comparisons, and a BPF library would be most of our build.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::devices::{DeviceKind, DeviceRule};

// From linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// The most rules of one program: the jumps are 16 bits wide.
const RULES_MAXIMUM: usize = 4000;

/// One instruction: eight bytes (linux/bpf.h, struct bpf_insn).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | (source << 4), offset, immediate }
}

const LOAD_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x54; // 32 bit
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE_REGISTER_32: u8 = 0xbc;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74; // 32 bit
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x56; // 32 bit compare
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5e; // 32 bit compare
const EXIT: u8 = 0x95;

/// Registers: 1 the context, 2 kind, 3 access, 4 major, 5 minor, 6 scratch, 0 the answer.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access_type (access << 16 | kind), major, minor.
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT_IMMEDIATE, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let kind = match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Character => 2,
        };
        let access = i32::from(rule.make) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
        let mut block = vec![
            (instruction(JUMP_NOT_EQUAL_IMMEDIATE, 2, 0, 0, kind), true),
            // All of what is asked for must be allowed: asked & allowed == asked.
            (instruction(MOVE_REGISTER_32, 6, 3, 0, 0), false),
            (instruction(AND_IMMEDIATE, 6, 0, 0, access), false),
            (instruction(JUMP_NOT_EQUAL_REGISTER, 6, 3, 0, 0), true),
        ];
        if let Some(major) = rule.major {
            block.push((instruction(JUMP_NOT_EQUAL_IMMEDIATE, 4, 0, 0, major as i32), true));
        }
        if let Some(minor) = rule.minor {
            block.push((instruction(JUMP_NOT_EQUAL_IMMEDIATE, 5, 0, 0, minor as i32), true));
        }
        block.push((instruction(MOVE_IMMEDIATE, 0, 0, 0, 1), false));
        block.push((instruction(EXIT, 0, 0, 0, 0), false));
        let length = block.len();
        for (index, (mut step, jumps_to_next_rule)) in block.into_iter().enumerate() {
            if jumps_to_next_rule {
                step.offset = (length - index - 1) as i16;
            }
            program.push(step);
        }
    }
    program.push(instruction(MOVE_IMMEDIATE, 0, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

/// Loads the program for `rules` and attaches it to the cgroup at `directory`, where it stays until the cgroup is removed.
pub(super) fn attach(directory: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    if rules.len() > RULES_MAXIMUM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many devices"));
    }
    let program = load(&assemble(rules))?;
    let cgroup = File::open(directory)?;
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attributes` is the beginning of union bpf_attr for this command, of the size given; descriptors are open.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if answer < 0 { Err(context("attach the device filter", io::Error::last_os_error())) } else { Ok(()) }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
    }
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        // No helper is called, so the program needs no GPL-compatible licence.
        licence: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    // SAFETY: as above; `instructions` and `licence` point to memory that outlives the call.
    let file =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    if file < 0 {
        return Err(context("load the device filter", io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(file as i32) })
}

fn context(action: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{action}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the assembled program as the kernel would: enough of BPF for what `assemble` emits.
    fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        for _ in 0..10_000 {
            let step = program[at];
            let (to, from) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
            at += 1;
            let mut jump = false;
            match step.code {
                LOAD_WORD => registers[to] = u64::from(context[step.offset as usize / 4]),
                AND_IMMEDIATE => registers[to] = u64::from(registers[to] as u32 & step.immediate as u32),
                SHIFT_RIGHT_IMMEDIATE => registers[to] = u64::from(registers[to] as u32 >> step.immediate),
                MOVE_REGISTER_32 => registers[to] = u64::from(registers[from] as u32),
                MOVE_IMMEDIATE => registers[to] = step.immediate as u64,
                JUMP_NOT_EQUAL_IMMEDIATE => jump = registers[to] as u32 != step.immediate as u32,
                JUMP_NOT_EQUAL_REGISTER => jump = registers[to] as u32 != registers[from] as u32,
                EXIT => return registers[0],
                code => panic!("instruction {code:#x}"),
            }
            if jump {
                at += step.offset as usize;
            }
        }
        panic!("no end");
    }

    #[test]
    fn the_program_allows_the_rules_and_nothing_else() {
        let mut rules = DeviceRule::defaults();
        rules.push(DeviceRule {
            kind: DeviceKind::Block,
            major: Some(7),
            minor: Some(0),
            read: true,
            write: false,
            make: false,
        });
        let program = assemble(&rules);
        let ask =
            |kind: u32, access: u32, major, minor| run(&program, [access << 16 | kind, major, minor]) == 1;
        let (block, character, make, read, write) = (1, 2, 1, 2, 4);
        assert!(ask(character, read | write, 1, 3), "/dev/null");
        assert!(ask(character, make, 99, 99), "making any node");
        assert!(!ask(character, read, 99, 99), "but not opening it");
        assert!(!ask(character, make | read, 99, 99));
        assert!(ask(character, read | write, 136, 17), "any pseudo terminal");
        assert!(!ask(character, read, 1, 1), "/dev/mem");
        assert!(ask(block, read, 7, 0));
        assert!(!ask(block, write, 7, 0));
        assert!(!ask(block, read, 7, 1));
        assert!(!ask(block, read, 1, 3), "the kind counts");
    }
}
