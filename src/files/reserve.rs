//! A reserve of file descriptors. Connections can use up all that a process may have; a key that was revoked has to be seen all the same.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError},
};

use rustix::io::Errno;

/// The size of the reserve. One is needed at a time; the others make up for those that a new connection takes first.
const RESERVE: usize = 4;

static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Fills the reserve, as far as there are descriptors to be had.
pub fn fill() {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    while held.len() < RESERVE {
        let Ok(spare) = File::open("/") else { return };
        held.push(spare);
    }
}

/// Does `work`, which opens files and closes them again, and gives up one descriptor of the reserve after the other for it where there is
/// none left.
///
/// # Errors
/// The errors of `work`.
pub fn with_reserve<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if is_exhausted(&error) => {
                let spare = HELD.lock().unwrap_or_else(PoisonError::into_inner).pop();
                if spare.is_none() {
                    return Err(error);
                }
            }
            outcome => {
                fill();
                return outcome;
            }
        }
    }
}

/// Returns true where the process, or the machine, has no descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}
