//! Signals as values: blocked in every thread, waited for by one.

use std::io;
use std::mem::MaybeUninit;

/// What an operator, or a service manager, asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT or SIGQUIT: end, in good order.
    End,
    /// SIGHUP: look at what can be reloaded.
    Reload,
}

/// The signals that are waited for instead of killing.
pub struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Blocks them for this thread and all that it starts from now on; to be called before any is started.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set, the other calls read it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
                libc::sigaddset(&raw mut set, signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(Self { set }),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Signal {
        loop {
            let mut signal = 0;
            // SAFETY: the set is initialised, and the number is written to our variable.
            let failed = unsafe { libc::sigwait(&raw const self.set, &raw mut signal) };
            match (failed, signal) {
                (0, libc::SIGHUP) => return Signal::Reload,
                (0, _) => return Signal::End,
                // Only an invalid set fails, and ours is valid; an interruption is none of our signals.
                _ => {}
            }
        }
    }
}
