//! The best a process can do: requests read in place from a ring shared with the kernel (`PACKET_RX_RING`),
//! only those a filter in the kernel lets through, answered in batches (`sendmmsg`) past the queueing layer
//! (`PACKET_QDISC_BYPASS`).

use std::collections::HashSet;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::cpu;
use super::plan;
use crate::link::Interface;

// linux/if_packet.h
const PACKET_RX_RING: libc::c_int = 5;
const PACKET_VERSION: libc::c_int = 10;
const PACKET_QDISC_BYPASS: libc::c_int = 20;
const TPACKET_V2: libc::c_int = 1;
const TP_STATUS_USER: u32 = 1;
/// Bytes per frame of the ring: `tpacket2_hdr`, address, headroom and the longest request fit.
const FRAME: usize = 256;
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 64;
const FRAMES: usize = BLOCK * BLOCKS / FRAME;
/// Answers per system call.
const BATCH: usize = 64;

/// `struct tpacket_req`.
#[repr(C)]
struct Request {
    block_size: u32,
    blocks: u32,
    frame_size: u32,
    frames: u32,
}

/// The start of `struct tpacket2_hdr`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
}

/// A responding thread; ends on drop.
pub(super) struct Responder {
    stop: Arc<AtomicBool>,
    thread: i32,
    handle: Option<JoinHandle<Result<()>>>,
}

impl Responder {
    /// Answers on `interface` for the first `vips` addresses of each family with `mac`.
    pub(super) fn start(interface: &Interface, vips: u32, mac: [u8; 6]) -> Result<Self> {
        let (interface, stop, id) =
            (interface.clone(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let (stopped, identity) = (Arc::clone(&stop), Arc::clone(&id));
        let handle = thread::spawn(move || {
            interface.namespace().enter(|| {
                cpu::bind(0, cpu::RESPONDER)?;
                let mut ring = Ring::open(interface.index())?;
                identity.store(cpu::this_thread(), Ordering::Release);
                let table = Table::new(vips, mac);
                while !stopped.load(Ordering::Relaxed) {
                    ring.serve(&table)?;
                }
                Ok(())
            })
        });
        let mut tries = 0;
        while id.load(Ordering::Acquire) == 0 && !handle.is_finished() && tries < 5000 {
            thread::sleep(Duration::from_millis(1));
            tries += 1;
        }
        let thread = id.load(Ordering::Acquire);
        if thread == 0 && handle.is_finished() {
            handle.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))?;
            bail!("the responder ended at once");
        }
        ensure!(thread != 0, "the responder did not start");
        Ok(Self { stop, thread, handle: Some(handle) })
    }

    /// Its thread.
    pub(super) fn thread(&self) -> i32 {
        self.thread
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.handle.take().map(JoinHandle::join));
    }
}

struct Table {
    v4: HashSet<[u8; 4]>,
    v6: HashSet<[u8; 16]>,
    mac: [u8; 6],
}

impl Table {
    fn new(vips: u32, mac: [u8; 6]) -> Self {
        let v4 = (0..vips).map(|index| plan::vip_v4(index).octets()).collect();
        let v6 = (0..vips).map(|index| plan::vip_v6(index).octets()).collect();
        Self { v4, v6, mac }
    }

    /// The answer and its length.
    fn answer(&self, request: &[u8], answer: &mut [u8; 86]) -> Option<usize> {
        match request.get(12..14)? {
            [8, 6] => self.reply(request.first_chunk()?, answer),
            [0x86, 0xdd] => self.advertise(request.first_chunk()?, answer),
            _ => None,
        }
    }

    fn reply(&self, request: &[u8; 42], answer: &mut [u8; 86]) -> Option<usize> {
        if request[14..22] != [0, 1, 8, 0, 6, 4, 0, 1] || !self.v4.contains(&request[38..42]) {
            return None;
        }
        answer[..6].copy_from_slice(&request[22..28]);
        answer[6..12].copy_from_slice(&self.mac);
        answer[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        answer[22..28].copy_from_slice(&self.mac);
        answer[28..32].copy_from_slice(&request[38..42]);
        answer[32..42].copy_from_slice(&request[22..32]);
        Some(42)
    }

    fn advertise(&self, request: &[u8; 86], answer: &mut [u8; 86]) -> Option<usize> {
        let is_solicitation = request[20..22] == [58, 255] && request[54..56] == [135, 0];
        if !is_solicitation || sum(&request[22..]) != 0xffff || !self.v6.contains(&request[62..78]) {
            return None;
        }
        answer[..6].copy_from_slice(&request[80..86]);
        answer[6..12].copy_from_slice(&self.mac);
        answer[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
        answer[22..38].copy_from_slice(&request[62..78]);
        answer[38..54].copy_from_slice(&request[22..38]);
        answer[54..62].copy_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
        answer[62..78].copy_from_slice(&request[62..78]);
        answer[78..80].copy_from_slice(&[2, 1]);
        answer[80..86].copy_from_slice(&self.mac);
        let checksum = !sum(&answer[22..]);
        answer[56..58].copy_from_slice(&checksum.to_be_bytes());
        Some(86)
    }
}

/// One's complement sum of addresses and message with the rest of the pseudo-header: length 32, ICMPv6.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>() + 32 + 58;
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A packet socket with its mapped ring.
struct Ring {
    socket: Socket,
    frames: *mut u8,
    next: usize,
    answers: [[u8; 86]; BATCH],
}

impl Ring {
    fn open(ifindex: u32) -> Result<Self> {
        // Protocol 0: nothing arrives before the filter and the ring are there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        let fd = socket.as_raw_fd();
        set(fd, libc::SOL_PACKET, PACKET_VERSION, &TPACKET_V2)?;
        set(fd, libc::SOL_PACKET, PACKET_QDISC_BYPASS, &1_i32)?;
        let filter = filter();
        let program =
            libc::sock_fprog { len: u16::try_from(filter.len())?, filter: filter.as_ptr().cast_mut() };
        set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        let request = Request {
            block_size: u32::try_from(BLOCK)?,
            blocks: u32::try_from(BLOCKS)?,
            frame_size: u32::try_from(FRAME)?,
            frames: u32::try_from(FRAMES)?,
        };
        set(fd, libc::SOL_PACKET, PACKET_RX_RING, &request)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of the ring, whose size was just set.
        let frames = unsafe { libc::mmap(ptr::null_mut(), BLOCK * BLOCKS, access, libc::MAP_SHARED, fd, 0) };
        ensure!(frames != libc::MAP_FAILED, io::Error::last_os_error());
        // SAFETY: all zeroes is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET)?;
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
        address.sll_ifindex = i32::try_from(ifindex)?;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
        // SAFETY: a live address of that length.
        let bound = unsafe { libc::bind(fd, (&raw const address).cast(), length) };
        ensure!(bound == 0, io::Error::last_os_error());
        Ok(Self { socket, frames: frames.cast(), next: 0, answers: [[0; 86]; BATCH] })
    }

    /// Answers what is in the ring, or waits for something to come.
    fn serve(&mut self, table: &Table) -> Result<()> {
        let (mut lengths, mut count) = ([0; BATCH], 0);
        while count < BATCH {
            // SAFETY: the ring has FRAMES frames of FRAME bytes; `next` is below FRAMES.
            let frame = unsafe { self.frames.add(self.next * FRAME) };
            // The status is the first word of the header; the ring and its frames are aligned to more than that.
            // SAFETY: a live, aligned word that kernel and process hand to and fro.
            let status = unsafe { AtomicU32::from_ptr(frame.cast()) };
            if status.load(Ordering::Acquire) & TP_STATUS_USER == 0 {
                break;
            }
            // SAFETY: the kernel has handed the frame over, with its header at the start; any bytes are a header.
            let header = unsafe { frame.cast::<Header>().read_unaligned() };
            // SAFETY: the message lies within the frame: the kernel cuts what is longer.
            let message = unsafe { frame.add(usize::from(header.mac)) };
            // SAFETY: as above, and nobody writes there until the status is handed back.
            let request = unsafe { std::slice::from_raw_parts(message, header.snaplen as usize) };
            if let Some(length) = table.answer(request, &mut self.answers[count]) {
                lengths[count] = length;
                count += 1;
            }
            status.store(0, Ordering::Release);
            self.next = (self.next + 1) % FRAMES;
        }
        if count == 0 { self.wait() } else { self.send(&lengths[..count]) }
    }

    fn wait(&self) -> Result<()> {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live descriptor.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 100) };
        ensure!(ready >= 0, io::Error::last_os_error());
        Ok(())
    }

    /// What the device does not take is lost, as on any full queue.
    fn send(&mut self, lengths: &[usize]) -> Result<()> {
        // SAFETY: all zeroes is a valid vector.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: all zeroes is a valid message.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (index, &length) in lengths.iter().enumerate() {
            vectors[index] =
                libc::iovec { iov_base: self.answers[index].as_mut_ptr().cast(), iov_len: length };
            messages[index].msg_hdr.msg_iov = &raw mut vectors[index];
            messages[index].msg_hdr.msg_iovlen = 1;
        }
        let mut done = 0;
        while done < lengths.len() {
            let left = u32::try_from(lengths.len() - done)?;
            // SAFETY: the messages from `done` on are live and point to live buffers.
            let sent =
                unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages[done..].as_mut_ptr(), left, 0) };
            done += usize::try_from(sent).unwrap_or(1).max(1);
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`; nobody uses it any more.
        unsafe { libc::munmap(self.frames.cast(), BLOCK * BLOCKS) };
    }
}

/// ARP requests and neighbour solicitations of others, in the classic packet filter language.
fn filter() -> [libc::sock_filter; 10] {
    let i = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, load_byte) =
        (libc::BPF_LD | libc::BPF_ABS | libc::BPF_H, libc::BPF_LD | libc::BPF_ABS | libc::BPF_B);
    let (equal, give) = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET | libc::BPF_K);
    // SKF_AD_OFF + SKF_AD_PKTTYPE (linux/filter.h): the socket's own frames are of type PACKET_OUTGOING, 4.
    let packet_type = 0xffff_f004;
    [
        i(load_byte, 0, 0, packet_type),
        i(equal, 7, 0, 4),
        i(load, 0, 0, 12),
        i(equal, 0, 2, 0x0806),
        i(load, 0, 0, 20),
        i(equal, 2, 3, 1),
        i(load_byte, 0, 0, 54),
        i(equal, 0, 1, 135),
        i(give, 0, 0, 0xffff),
        i(give, 0, 0, 0),
    ]
}

fn set<T>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>())?;
    // SAFETY: a live value of that length.
    let done = unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(value).cast(), length) };
    ensure!(done == 0, io::Error::last_os_error());
    Ok(())
}
