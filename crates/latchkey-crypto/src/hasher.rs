//! Password hashing with argon2id in a pool of threads.
//!
//! A hash takes about 20 ms of one core and 19 MiB of memory. On a thread of the web server it
//! would block other requests, and an unbounded pool could exhaust the memory. So the number of
//! threads and the length of the queue are fixed, and the threads reuse their memory. A full queue
//! fails at once (503). A source may use only a part of the queue
//! (`latchkey-service/src/admission`). The memory is released when the pool is idle.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, Salt},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use tokio::sync::oneshot;

use super::random;
use latchkey_domain::password::{Password, PasswordHash};

/// Maximum memory of a stored hash that is verified, in KiB. It prevents a planted hash from
/// exhausting the machine.
const MAX_STORED_MEMORY: u32 = 256 * 1024;
const MAX_STORED_PASSES: u32 = 16;
const MAX_STORED_LANES: u32 = 16;
/// Length of salts and hashes in bytes (RFC 9106, section 4).
const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;

/// Idle time after which the memory is released. Allocating it again takes a few milliseconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum allocation in blocks (KiB) that is returned to the system when freed. glibc may keep
/// smaller ones, up to 32 MiB, in the heap. Unused parts never become resident.
const MMAP_THRESHOLD_BLOCKS: usize = 33 * 1024;
/// Size in blocks below which memory may stay in the heap.
const MAX_HEAP_BLOCKS: usize = 1024;

/// Parameters of argon2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashCost {
    /// Memory in KiB (`m`).
    pub memory: u32,
    /// Passes (`t`).
    pub passes: u32,
    /// Lanes (`p`).
    pub lanes: u32,
}

/// Failure to compute a hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashError {
    /// The queue is full. The request may be repeated later.
    #[error("too many passwords are being hashed")]
    Busy,
    /// argon2 rejected the parameters, or no random bytes were available.
    #[error("the password could not be hashed")]
    Failed,
}

/// Result of a password check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordCheck {
    /// True if the password is correct.
    pub fits: bool,
    /// True if the hash was computed with other parameters than the present ones.
    pub outdated: bool,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Pool of hashing threads. Clones share it, and dropping the last one ends the threads.
#[derive(Clone)]
pub struct Hasher {
    jobs: SyncSender<Job>,
    cost: HashCost,
    dummy: Arc<PasswordHash>,
    load: Arc<Load>,
}

/// Present load of the pool.
#[derive(Default)]
struct Load {
    running: AtomicUsize,
    waiting: AtomicUsize,
}

struct Worker {
    params: Params,
    memory: Vec<Block>,
}

/// Queue of the threads, and memory that no thread uses at present.
struct WorkerMemory {
    jobs: Mutex<Receiver<Job>>,
    idle: Duration,
    spare: Mutex<Vec<Vec<Block>>>,
}

impl Hasher {
    /// Starts `threads` threads with a queue of `queue` jobs.
    ///
    /// # Errors
    /// [`HashError::Failed`] if argon2 rejects the parameters or a thread cannot be started.
    pub fn start(cost: HashCost, threads: usize, queue: usize) -> Result<Self, HashError> {
        Self::start_with(cost, threads, queue, IDLE_TIMEOUT).map(|(hasher, _)| hasher)
    }

    fn start_with(
        cost: HashCost,
        threads: usize,
        queue: usize,
        idle: Duration,
    ) -> Result<(Self, Arc<WorkerMemory>), HashError> {
        let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(HASH_LENGTH))
            .map_err(|_| HashError::Failed)?;
        let (jobs, receiver) = sync_channel::<Job>(queue);
        let shared = Arc::new(WorkerMemory {
            jobs: Mutex::new(receiver),
            idle,
            spare: Mutex::default(),
        });
        // Unknown users are checked against this hash, so that they cost the same as known ones.
        let dummy = Worker {
            params: params.clone(),
            memory: Vec::new(),
        }
        .hash(&random::bytes::<16>().map_err(|_| HashError::Failed)?)?;
        for index in 0..threads {
            let shared = Arc::clone(&shared);
            let params = params.clone();
            thread::Builder::new()
                .name(format!("argon2-{index}"))
                .spawn(move || {
                    work(
                        &shared,
                        Worker {
                            params,
                            memory: Vec::new(),
                        },
                    );
                })
                .map_err(|_| HashError::Failed)?;
        }
        Ok((
            Self {
                jobs,
                cost,
                dummy: Arc::new(dummy),
                load: Arc::default(),
            },
            shared,
        ))
    }

    /// Returns the parameters of new hashes.
    #[must_use]
    pub const fn cost(&self) -> HashCost {
        self.cost
    }

    /// Returns the numbers of waiting and of running jobs.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (
            self.load.waiting.load(Ordering::Relaxed),
            self.load.running.load(Ordering::Relaxed),
        )
    }

    /// Returns the hash of `password` with a random salt, in PHC form.
    ///
    /// # Errors
    /// [`HashError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.run(move |worker| worker.hash(password.expose())).await
    }

    /// Checks `password` against `hash`. Without a hash it does the same work, and the check fails.
    ///
    /// # Errors
    /// [`HashError`].
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<PasswordCheck, HashError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.as_ref().clone());
        self.run(move |worker| {
            let verdict = worker.verify(password.expose(), &hash);
            Ok(PasswordCheck {
                fits: known && verdict.fits,
                ..verdict
            })
        })
        .await
    }

    async fn run<T, F>(&self, job: F) -> Result<T, HashError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, HashError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let load = Arc::clone(&self.load);
        let job: Job = Box::new(move |worker| {
            load.waiting.fetch_sub(1, Ordering::Relaxed);
            // Skips the work if the request was dropped.
            if !reply.is_closed() {
                load.running.fetch_add(1, Ordering::Relaxed);
                let outcome = job(worker);
                load.running.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(outcome);
            }
        });
        self.load.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| {
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => HashError::Busy,
                TrySendError::Disconnected(_) => HashError::Failed,
            }
        })?;
        answer.await.unwrap_or(Err(HashError::Failed))
    }
}

fn work(shared: &WorkerMemory, mut worker: Worker) {
    loop {
        let job = shared
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(shared.idle);
        match job {
            Ok(job) => {
                worker.memory = shared.spare().pop().unwrap_or_default();
                job(&mut worker);
                shared.spare().push(mem::take(&mut worker.memory));
            }
            Err(RecvTimeoutError::Timeout) => shared.spare().clear(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl WorkerMemory {
    fn spare(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn hash(&mut self, password: &[u8]) -> Result<PasswordHash, HashError> {
        let salt = random::bytes::<SALT_LENGTH>().map_err(|_| HashError::Failed)?;
        let params = self.params.clone();
        let output = self.compute(password, &salt, params.clone(), HASH_LENGTH)?;
        let phc = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&params).map_err(|_| HashError::Failed)?,
            salt: Some(Salt::new(&salt).map_err(|_| HashError::Failed)?),
            hash: Some(Output::new(&output).map_err(|_| HashError::Failed)?),
        };
        Ok(PasswordHash::new(phc.to_string()))
    }

    /// Checks a password. An unreadable hash, or one with excessive parameters, does not match any
    /// password. The check takes the usual time even then, so that such users cannot be detected.
    fn verify(&mut self, password: &[u8], hash: &PasswordHash) -> PasswordCheck {
        let no = PasswordCheck {
            fits: false,
            outdated: false,
        };
        let Some(stored) = Stored::parse(hash.expose()) else {
            let _ = self.compute(
                password,
                &[0; SALT_LENGTH],
                self.params.clone(),
                HASH_LENGTH,
            );
            return no;
        };
        let outdated = stored.params.m_cost() != self.params.m_cost()
            || stored.params.t_cost() != self.params.t_cost()
            || stored.params.p_cost() != self.params.p_cost();
        match self.compute(password, &stored.salt, stored.params, stored.output.len()) {
            Ok(output) => PasswordCheck {
                fits: verify_slices_are_equal(&output, &stored.output).is_ok(),
                outdated,
            },
            Err(_) => no,
        }
    }

    fn compute(
        &mut self,
        password: &[u8],
        salt: &[u8],
        params: Params,
        length: usize,
    ) -> Result<Vec<u8>, HashError> {
        let blocks = params.block_count();
        if self.memory.len() < blocks {
            if blocks > MAX_HEAP_BLOCKS {
                self.memory
                    .reserve_exact(blocks.max(MMAP_THRESHOLD_BLOCKS) - self.memory.len());
            }
            self.memory.resize(blocks, Block::default());
        }
        let mut output = vec![0; length];
        let memory = self.memory.get_mut(..blocks).ok_or(HashError::Failed)?;
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, &mut output, memory);
        // Releases additional memory that an old hash with other parameters required.
        let own = self.params.block_count();
        if self.memory.len() > own {
            self.memory.truncate(own);
            self.memory.shrink_to_fit();
        }
        done.map(|()| output).map_err(|_| HashError::Failed)
    }
}

struct Stored {
    params: Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Stored {
    fn parse(text: &str) -> Option<Self> {
        let parsed = phc::PasswordHash::new(text).ok()?;
        let params = Params::try_from(&parsed).ok()?;
        let bounded = params.m_cost() <= MAX_STORED_MEMORY
            && params.t_cost() <= MAX_STORED_PASSES
            && params.p_cost() <= MAX_STORED_LANES;
        let argon2id = parsed.algorithm == Algorithm::Argon2id.ident()
            && parsed.version == Some(Version::V0x13.into());
        (bounded && argon2id).then_some(())?;
        Some(Self {
            params,
            salt: parsed.salt?.to_vec(),
            output: parsed.hash?.as_bytes().to_vec(),
        })
    }
}

#[cfg(test)]
#[path = "hasher_tests.rs"]
mod tests;
