//! The stages of a frame, each a function of its own to the verifier.
//!
//! A BPF function with global linkage is verified once, by its types alone, whatever its callers know (kernel 5.6;
//! with pointers to memory as arguments 5.13). Inlined, or with local linkage, the same code would be walked again
//! for every combination of what came before: each kind of VLAN tag, each option, each outcome. So stages share what
//! such a function may take and give: the context, numbers, and memory of a known size, the [`Job`].

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use lb_common::abi::Vlans;
use lb_common::addr::Mac;
use lb_common::outcome::{self, Outcome};
use lb_common::packet::checksum::Sum;
use lb_common::packet::ndp::Options;

use crate::frame::{Frame, Skb, Xdp};
use crate::{arp, bfd, counters, ndp};

/// What is known of a frame between its stages.
#[repr(C)]
pub(crate) struct Job {
    /// `CLOCK_BOOTTIME`, once the deadline was looked at.
    pub(crate) now: u64,
    /// Neighbour discovery: the checksum so far.
    pub(crate) sum: Sum,
    /// VLANs the frame came in by.
    pub(crate) vlans: Vlans,
    /// Index of the outcome, once judged.
    pub(crate) outcome: u32,
    /// Counters of the entry the frame is about.
    pub(crate) slot: u32,
    /// Its hardware address.
    pub(crate) mac: Mac,
    /// Not 0: the entry is the sender's, who therefore claims the address; else the target's.
    pub(crate) is_sender: u8,
    /// Not 0: requests are to be reported.
    pub(crate) trace: u8,
    /// Neighbour discovery: the options so far.
    pub(crate) options: Options,
    /// Liveness: not 0 when the address that was probed is up.
    pub(crate) up: u32,
}

/// No padding: the verifier wants all of the memory that it hands to a stage written.
const _: () = assert!(size_of::<Job>() == 48);

impl Job {
    /// Nothing known yet. Word by word and in place, or the compiler makes a call of memset, a loop over bytes.
    #[inline(always)]
    pub(crate) fn zeroed(place: &mut MaybeUninit<Self>) -> &mut Self {
        const WORDS: usize = size_of::<Job>() / size_of::<u64>();
        let words = place.as_mut_ptr().cast::<u64>();
        let mut i = 0;
        while i < WORDS {
            // SAFETY: within the job, which is aligned as a u64 is.
            let word = unsafe { words.add(i) };
            // SAFETY: as above.
            unsafe { word.write_volatile(0) };
            i += 1;
        }
        // SAFETY: all of it is written, and it holds integers only, for which zero is valid.
        unsafe { place.assume_init_mut() }
    }

    /// The outcome so far.
    #[inline(always)]
    pub(crate) fn outcome(&self) -> Outcome {
        outcome(self.outcome)
    }

    /// Sets it.
    #[inline(always)]
    pub(crate) fn set(&mut self, outcome: Outcome) {
        self.outcome = outcome.index();
    }
}

/// What a stage came to: go on, or nothing more is to be done and this is the outcome.
pub(crate) type Done = Result<(), Outcome>;

/// [`Done`] as the number that crosses the boundary.
const GO_ON: u32 = outcome::COUNT;

/// The outcome of this index.
#[inline(always)]
pub(crate) fn outcome(index: u32) -> Outcome {
    // SAFETY: only indices of outcomes are stored and returned between stages, and Outcome is repr(u32).
    unsafe { core::mem::transmute::<u32, Outcome>(index) }
}

/// What follows once the outcome is known: nothing, unless the frame named an address of ours.
#[inline(always)]
pub(crate) fn noted(job: &mut Job, outcome: Outcome) -> Done {
    if !outcome.is_noted() {
        return Err(outcome);
    }
    job.set(outcome);
    Ok(())
}

#[inline(always)]
fn done(code: u32) -> Done {
    if code == GO_ON { Ok(()) } else { Err(outcome(code)) }
}

/// Runs `stage` behind the boundary. Without the mask `at`, a place in the frame, could be anything to the verifier,
/// and so could the address it leads to.
#[inline(always)]
fn enter<F: Frame>(frame: &F, at: u32, job: *mut Job, stage: impl Fn(&F, usize, &mut Job) -> Done) -> u32 {
    // SAFETY: the caller's own; the verifier wants the test for null.
    let Some(job) = (unsafe { job.as_mut() }) else { return Outcome::Ignored.index() };
    match stage(frame, (at & 0xfe) as usize, job) {
        Ok(()) => GO_ON,
        Err(outcome) => outcome.index(),
    }
}

macro_rules! stages {
    ($($stage:ident: $function:path;)*) => {
        /// The stages, called across the boundary. `at` = the place in the frame where they start.
        pub(crate) trait Stages: Frame {
            $(#[doc = concat!("[`", stringify!($function), "`]")]
            fn $stage(&self, at: usize, job: &mut Job) -> Done;)*

            /// [`bfd::respond`], which makes its job itself.
            fn bfd(&self) -> Outcome;
        }
        macro_rules! hook {
            ($name:literal, $frame:ty, $context:ty) => {
                impl Stages for $frame {
                    $(#[inline(always)]
                    fn $stage(&self, at: usize, job: &mut Job) -> Done {
                        #[unsafe(export_name = concat!($name, "_", stringify!($stage)))]
                        #[inline(never)]
                        extern "C" fn $stage(context: *mut $context, at: u32, job: *mut Job) -> u32 {
                            enter(&<$frame>::new(context), at, job, $function)
                        }
                        done($stage(self.context(), at as u32, job))
                    })*

                    #[inline(always)]
                    fn bfd(&self) -> Outcome {
                        #[unsafe(export_name = concat!($name, "_bfd"))]
                        #[inline(never)]
                        extern "C" fn bfd(context: *mut $context) -> u32 {
                            bfd::respond(&<$frame>::new(context)).index()
                        }
                        outcome(bfd(self.context()))
                    }
                }
            };
        }
    };
}

stages! {
    arp: arp::respond;
    arp_judge: arp::judge;
    arp_fit: arp::fit;
    arp_note: arp::note;
    nd: ndp::respond;
    nd_parse: ndp::parse;
    nd_options: ndp::options;
    nd_unit: ndp::unit;
    nd_judge: ndp::judge;
    nd_fit: ndp::fit;
    nd_note: ndp::note;
    nd_reply: ndp::reply;
    bfd_datagram: bfd::datagram;
    bfd_judge: bfd::judge;
    bfd_fit: bfd::fit;
    bfd_turn: bfd::turn;
}
hook!("xdp", Xdp<true>, xdp_md);
hook!("xdp_plain", Xdp<false>, xdp_md);
hook!("tcx", Skb, __sk_buff);

/// [`counters::report`], the same for all hooks.
#[inline(always)]
pub(crate) fn report(seen: &counters::Seen) {
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn report(seen: *const counters::Seen) -> u32 {
        // SAFETY: null, or the caller's own.
        if let Some(seen) = unsafe { seen.as_ref() } {
            counters::report(seen);
        }
        0
    }
    report(seen);
}
