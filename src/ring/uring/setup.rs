//! Building a ring with what this kernel offers, and saying clearly when that is not enough.
//!
//! The baseline is Linux 6.1 (`DEFER_TASKRUN`); newer features are used where they are found.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::io::Errno;

/// Submission entries: what one enter carries at most. A fan-out gains nothing from more than 128 at once; 512 leaves
/// room for everything else of a turn.
const SUBMISSIONS: u32 = 512;

/// Completion entries: a burst of hang-ups must not end multishot requests by overflowing.
const COMPLETIONS: u32 = 4096;

/// Why this machine cannot run the event loop. Its text is one sentence with the remedy.
#[derive(Debug)]
pub struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// What the kernel can do beyond the baseline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abilities {
    /// `FIXED_FD_INSTALL` (6.7): the only way to ask a direct descriptor for its peer's address.
    pub fd_install: bool,
    /// `SEND_ZC` and `SENDMSG_ZC` (6.1).
    pub zero_copy: bool,
}

/// A ring as the shards want it, made by and for the calling thread.
pub(super) fn build() -> Result<IoUring, Unfit> {
    let build = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS).dontfork();
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(SUBMISSIONS)
    };
    // NO_SQARRAY came with 6.6 and saves a little memory; nothing depends on it.
    build(true).or_else(|_| build(false)).map_err(|error| unfit(&error))
}

/// Looks for every op that the loop cannot do without.
pub(super) fn probe(ring: &IoUring) -> Result<Abilities, Unfit> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| unfit(&error))?;
    let needed = [
        (opcode::AcceptMulti::CODE, "ACCEPT"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::Connect::CODE, "CONNECT"),
        (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
        (opcode::Close::CODE, "CLOSE"),
        (opcode::MsgRingData::CODE, "MSG_RING"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(Unfit(format!(
                "this kernel's io_uring has no {name}, which Plasma needs: run Linux 6.1 or newer"
            )));
        }
    }
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_skip_cqe_on_success() {
        return Err(Unfit("this kernel's io_uring is too old for Plasma: run Linux 6.1 or newer".into()));
    }
    Ok(Abilities {
        fd_install: probe.is_supported(opcode::FixedFdInstall::CODE),
        zero_copy: probe.is_supported(opcode::SendZc::CODE) && probe.is_supported(opcode::SendMsgZc::CODE),
    })
}

/// Whether this machine can run the event loop at all; to be asked once, before anything is opened.
pub fn check() -> Result<(), Unfit> {
    probe(&build()?).map(drop)
}

fn unfit(error: &io::Error) -> Unfit {
    let text = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSYS) => "this kernel has no io_uring: run Linux 6.1 or newer, built with CONFIG_IO_URING".into(),
        Some(Errno::PERM | Errno::ACCESS) => {
            "io_uring is forbidden here: set sysctl kernel.io_uring_disabled=0, and in a container allow the \
             io_uring_* system calls in its seccomp profile"
                .into()
        }
        Some(Errno::INVAL) => {
            "this kernel's io_uring lacks DEFER_TASKRUN, which Plasma needs: run Linux 6.1 or newer".into()
        }
        Some(Errno::NOMEM) => {
            "the kernel refused memory for an io_uring: raise the memory limit (ulimit -l, or LimitMEMLOCK= in systemd)"
                .into()
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            "no file descriptor is left for an io_uring: raise the limit of open files (ulimit -n)".into()
        }
        _ => format!("io_uring cannot be set up: {error}"),
    };
    Unfit(text)
}
