//! The idle class of I/O: reads that are served when nobody else wants the disk (ioprio_set(2)). Owns that one system
//! call, which no safe crate of ours has.
#![allow(unsafe_code)]

use std::io;

// linux/ioprio.h
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
const CALLING_THREAD: libc::c_int = 0;

/// Puts the calling thread there. Schedulers that know no classes (`none`, as NVMe usually has) take no notice.
pub(super) fn enter() -> io::Result<()> {
    let idle = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
    // SAFETY: the call takes three numbers and touches no memory.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, CALLING_THREAD, idle) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_put_into_the_idle_class() {
        std::thread::spawn(|| {
            enter().unwrap();
            // SAFETY: the call takes two numbers and touches no memory.
            let now = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, CALLING_THREAD) };
            assert_eq!(now >> IOPRIO_CLASS_SHIFT, i64::from(IOPRIO_CLASS_IDLE));
        })
        .join()
        .unwrap();
    }
}
