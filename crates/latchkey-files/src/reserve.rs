//! Reserve of file descriptors. Connections can use up all descriptors of the process, but
//! changes of the key ring must still be read.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError},
};

use rustix::io::Errno;

/// Capacity of the reserve. One descriptor is needed at a time. A new connection may take a
/// released one first, so there are spares.
const RESERVE_CAPACITY: usize = 4;

static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Fills the reserve as far as descriptors are available.
pub fn fill() {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    while held.len() < RESERVE_CAPACITY {
        let Ok(spare) = File::open("/") else { return };
        held.push(spare);
    }
}

/// Runs `work`, which opens and closes files. If no descriptor is available, it releases one of the
/// reserve and tries again, until the reserve is empty.
///
/// # Errors
/// Errors of `work`.
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

/// True if the process or the machine has no descriptor left.
fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}
