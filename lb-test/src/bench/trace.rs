//! How many instructions a program executes for a frame: the program as the verifier translated it, interpreted.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail, ensure};
use aya::programs::ProgramFd;

/// `BPF_OBJ_GET_INFO_BY_FD`.
const GET_INFO: libc::c_long = 15;
/// Offsets in `struct bpf_prog_info`: length and place of the translated instructions.
const XLATED_LEN: usize = 20;
const XLATED_AT: usize = 32;
const INFO: usize = 256;

const PACKET: u64 = 0x10_0000;
const CONTEXT: u64 = 0x20_0000;
const STACK: u64 = 0x30_0000;
const QUEUE: u64 = 0x40_0000;
/// The kernel's `net_device`. Of it a program reads the index only, wherever that lies.
const DEVICE: std::ops::Range<u64> = 0x50_0000..0x51_0000;
const IFINDEX: u64 = 1;
const LIMIT: usize = 1000;

/// One instruction: code, registers, offset, constant.
type Instruction = [u8; 8];

/// The instructions of a loaded program as the kernel runs them.
pub(super) fn translated(program: &ProgramFd) -> Result<Vec<Instruction>> {
    let mut info = [0_u8; INFO];
    query(program, &mut info)?;
    let bytes = u32::from_ne_bytes(*info[XLATED_LEN..].first_chunk().context("short")?) as usize;
    let mut instructions = vec![[0_u8; 8]; bytes / 8];
    let mut info = [0_u8; INFO];
    info[XLATED_LEN..XLATED_LEN + 4].copy_from_slice(&u32::try_from(bytes)?.to_ne_bytes());
    let place = instructions.as_mut_ptr() as u64;
    info[XLATED_AT..XLATED_AT + 8].copy_from_slice(&place.to_ne_bytes());
    query(program, &mut info)?;
    Ok(instructions)
}

fn query(program: &ProgramFd, info: &mut [u8; INFO]) -> Result<()> {
    use std::os::fd::AsFd;
    // union bpf_attr, the variant `info`: descriptor, length, place.
    let mut attributes = [0_u64; 16];
    let descriptor = u64::from(program.as_fd().as_raw_fd().cast_unsigned());
    attributes[0] = descriptor | (INFO as u64) << 32;
    attributes[1] = info.as_mut_ptr() as u64;
    // SAFETY: the attributes and what they point to are live; the kernel writes at most INFO bytes of `info`, and
    // instructions only where it says there is room.
    let done = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, attributes.as_mut_ptr(), 16) };
    ensure!(done == 0, std::io::Error::last_os_error());
    Ok(())
}

/// Instructions executed by an XDP program for `frame`, and its verdict. Fails on a call of the kernel, so a
/// result means that no helper and no map was reached.
pub(super) fn executed(program: &[Instruction], frame: &[u8]) -> Result<(usize, u64)> {
    let mut memory = BTreeMap::new();
    // struct xdp_buff: data, data_end, data_meta, data_hard_start, rxq; struct xdp_rxq_info: dev.
    write(&mut memory, CONTEXT, 8, PACKET);
    write(&mut memory, CONTEXT + 8, 8, PACKET + frame.len() as u64);
    write(&mut memory, CONTEXT + 32, 8, QUEUE);
    write(&mut memory, QUEUE, 8, DEVICE.start);
    for (at, &byte) in frame.iter().enumerate() {
        memory.insert(PACKET + at as u64, byte);
    }
    let mut machine = Machine { registers: [0; 11], memory, at: 0, callers: Vec::new() };
    machine.registers[1] = CONTEXT;
    machine.registers[10] = STACK;
    for count in 1..=LIMIT {
        let at = usize::try_from(machine.at)?;
        let instruction = program.get(at).context("ran out of the program")?;
        if machine.step(*instruction)? {
            return Ok((count, machine.registers[0]));
        }
    }
    bail!("more than {LIMIT} instructions")
}

struct Machine {
    registers: [u64; 11],
    memory: BTreeMap<u64, u8>,
    at: i64,
    callers: Vec<([u64; 5], i64)>,
}

impl Machine {
    /// Executes one instruction; true at the end of the program.
    fn step(&mut self, [code, registers, low, high, i0, i1, i2, i3]: Instruction) -> Result<bool> {
        let (to, from) = (usize::from(registers & 15), usize::from(registers >> 4));
        let offset = i64::from(i16::from_le_bytes([low, high]));
        let constant = i64::from(i32::from_le_bytes([i0, i1, i2, i3])).cast_unsigned();
        self.at += 1;
        let size = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        };
        let place = |register: u64| register.wrapping_add_signed(offset);
        match code & 7 {
            1 if code & 0xe0 == 0x60 => {
                self.registers[to] = read(&self.memory, place(self.registers[from]), size)?;
            }
            2 if code & 0xe0 == 0x60 => write(&mut self.memory, place(self.registers[to]), size, constant),
            3 if code & 0xe0 == 0x60 => {
                write(&mut self.memory, place(self.registers[to]), size, self.registers[from]);
            }
            4 if code & 0xf0 == 0xd0 => self.registers[to] = swapped(code, self.registers[to], constant)?,
            4 | 7 => {
                let operand = if code & 8 == 0 { constant } else { self.registers[from] };
                self.registers[to] = arithmetic(code, self.registers[to], operand)?;
            }
            5 if code == 0x95 => {
                let Some((saved, back)) = self.callers.pop() else { return Ok(true) };
                self.registers[6..11].copy_from_slice(&saved);
                self.at = back;
            }
            5 if code == 0x85 && from == 1 => {
                let saved = std::array::from_fn(|i| self.registers[6 + i]);
                self.callers.push((saved, self.at));
                self.registers[10] -= 512;
                self.at += offset;
            }
            5 if code == 0x85 => bail!("calls the kernel (a helper or a map) at instruction {}", self.at - 1),
            0 => bail!("loads the address of a map (or a 64-bit constant) at instruction {}", self.at - 1),
            5 | 6 => {
                let operand = if code & 8 == 0 { constant } else { self.registers[from] };
                if jumps(code, self.registers[to], operand)? {
                    self.at += if code == 0x06 { constant.cast_signed() } else { offset };
                }
            }
            _ => bail!("instruction {code:#x} at {} is not interpreted", self.at - 1),
        }
        Ok(false)
    }
}

fn arithmetic(code: u8, a: u64, b: u64) -> Result<u64> {
    let wide = code & 7 == 7;
    let (a, b) = if wide { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
    let shift = (b & if wide { 63 } else { 31 }) as u32;
    let result = match code & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << shift,
        0x70 => a >> shift,
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ b,
        0xb0 => b,
        0xc0 if wide => (a.cast_signed() >> shift).cast_unsigned(),
        0xc0 => u64::from(((a as u32).cast_signed() >> shift).cast_unsigned()),
        _ => bail!("arithmetic {code:#x} is not interpreted"),
    };
    Ok(if wide { result } else { u64::from(result as u32) })
}

/// The lowest 16, 32 or 64 bits, on a little-endian machine; their bytes reversed on the way to big-endian.
fn swapped(code: u8, value: u64, bits: u64) -> Result<u64> {
    ensure!(cfg!(target_endian = "little"), "byte order is only interpreted for little-endian machines");
    let bits = u32::try_from(bits)?;
    let value = if code & 8 == 0 { value } else { value.swap_bytes() >> (64 - bits) };
    Ok(if bits == 64 { value } else { value & ((1 << bits) - 1) })
}

fn jumps(code: u8, a: u64, b: u64) -> Result<bool> {
    let (a, b) = if code & 7 == 5 { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
    Ok(match code & 0xf0 {
        0x00 => true,
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0xa0 => a < b,
        0xb0 => a <= b,
        0x60 | 0x70 | 0xc0 | 0xd0 => signed(code, a, b),
        _ => bail!("jump {code:#x} is not interpreted"),
    })
}

fn signed(code: u8, a: u64, b: u64) -> bool {
    let signed =
        |value: u64| if code & 7 == 5 { value.cast_signed() } else { (value as u32).cast_signed().into() };
    let (a, b) = (signed(a), signed(b));
    match code & 0xf0 {
        0x60 => a > b,
        0x70 => a >= b,
        0xc0 => a < b,
        _ => a <= b,
    }
}

fn read(memory: &BTreeMap<u64, u8>, at: u64, size: u64) -> Result<u64> {
    if DEVICE.contains(&at) {
        return Ok(IFINDEX);
    }
    let bytes = (0..size).map(|i| memory.get(&(at + i)).map(|&byte| u64::from(byte) << (8 * i)));
    bytes.sum::<Option<u64>>().context("reads memory that nobody has written: a map, or the kernel's")
}

fn write(memory: &mut BTreeMap<u64, u8>, at: u64, size: u64, value: u64) {
    for i in 0..size {
        memory.insert(at + i, (value >> (8 * i)) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, registers: u8, offset: i16, constant: i32) -> Instruction {
        let ([o0, o1], [c0, c1, c2, c3]) = (offset.to_le_bytes(), constant.to_le_bytes());
        [code, registers, o0, o1, c0, c1, c2, c3]
    }

    const EXIT: Instruction = [0x95, 0, 0, 0, 0, 0, 0, 0];

    /// r2 = data; r0 = the two bytes of the EtherType in host order; jump over one if it is IPv4.
    fn program(last: Instruction) -> Vec<Instruction> {
        vec![
            instruction(0x79, 0x12, 0, 0),
            instruction(0x69, 0x20, 12, 0),
            instruction(0xdc, 0x00, 0, 16),
            instruction(0x15, 0x00, 1, 0x0800),
            last,
            EXIT,
        ]
    }

    #[test]
    fn instructions_on_the_way_are_counted() {
        let frame = |ethertype: [u8; 2]| [&[0; 12][..], &ethertype].concat();
        let program = program(instruction(0xb7, 0x00, 0, 7));
        assert_eq!(executed(&program, &frame([8, 0])).unwrap(), (5, 0x0800));
        assert_eq!(executed(&program, &frame([8, 6])).unwrap(), (6, 7));
    }

    #[test]
    fn a_call_within_the_program_comes_back_with_its_registers() {
        // r6 = 5; call the function; r0 += r6; exit. The function: r6 = 1; r0 = 2; exit.
        let program = [
            instruction(0xb7, 0x06, 0, 5),
            instruction(0x85, 0x10, 2, 0),
            instruction(0x0f, 0x60, 0, 0),
            EXIT,
            instruction(0xb7, 0x06, 0, 1),
            instruction(0xb7, 0x00, 0, 2),
            EXIT,
        ];
        assert_eq!(executed(&program, &[]).unwrap(), (7, 7));
    }

    #[test]
    fn maps_helpers_and_foreign_memory_are_refused() {
        for last in
            [instruction(0x18, 0x01, 0, 0), instruction(0x85, 0, 0, 1), instruction(0x79, 0x10, 100, 0)]
        {
            assert!(executed(&program(last), &[0; 14]).is_err(), "{last:?}");
        }
    }
}
