//! The pool that hashes passwords: verdicts, bounds, and what a full queue says.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    mpsc::channel,
};
use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// As cheap as argon2 gets: these tests are about all the rest.
const COST: HashCost = HashCost {
    memory: 64,
    passes: 1,
    lanes: 1,
};

fn hasher(threads: usize, queue: usize) -> Hasher {
    Hasher::start(COST, threads, queue).unwrap()
}

fn password(text: &str) -> Password {
    Password::parse(text.to_owned()).unwrap()
}

fn worker(cost: HashCost) -> Worker {
    Worker {
        params: Params::new(cost.memory, cost.passes, cost.lanes, Some(HASH_LENGTH)).unwrap(),
        memory: Vec::new(),
    }
}

const NO: Verdict = Verdict {
    fits: false,
    outdated: false,
};

#[tokio::test]
async fn the_right_password_fits_and_only_it() {
    let hasher = hasher(1, 8);
    let hash = hasher.hash(password("pass\0word ")).await.unwrap();
    assert!(
        hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
        "{}",
        hash.expose()
    );
    let verdict = hasher
        .verify(password("pass\0word "), Some(hash.clone()))
        .await
        .unwrap();
    assert_eq!(
        verdict,
        Verdict {
            fits: true,
            outdated: false
        }
    );
    let long = "x".repeat(100);
    for wrong in [
        "pass\0word",
        "pass",
        "Pass\0word ",
        " pass\0word ",
        "",
        long.as_str(),
    ] {
        assert_eq!(
            hasher
                .verify(password(wrong), Some(hash.clone()))
                .await
                .unwrap(),
            NO,
            "{wrong:?}"
        );
    }
    // Not cut after 72 bytes.
    let hash = hasher.hash(password(&long)).await.unwrap();
    assert!(
        !hasher
            .verify(password(&"x".repeat(99)), Some(hash))
            .await
            .unwrap()
            .fits
    );
}

#[tokio::test]
async fn each_hash_has_a_salt_of_its_own() {
    let hasher = hasher(1, 8);
    let one = hasher.hash(password("same")).await.unwrap();
    let other = hasher.hash(password("same")).await.unwrap();
    assert_ne!(one.expose(), other.expose());
    assert_eq!(
        Stored::parse(one.expose()).map(|stored| (stored.salt.len(), stored.output.len())),
        Some((16, 32))
    );
}

#[tokio::test]
async fn a_hash_of_other_parameters_fits_and_is_outdated() {
    let hasher = hasher(1, 8);
    for cost in [
        HashCost {
            memory: 128,
            ..COST
        },
        HashCost { memory: 32, ..COST },
        HashCost { passes: 2, ..COST },
        HashCost { lanes: 2, ..COST },
    ] {
        let old = worker(cost).hash(b"secret").unwrap();
        let verdict = |text| hasher.verify(password(text), Some(old.clone()));
        assert_eq!(
            verdict("secret").await.unwrap(),
            Verdict {
                fits: true,
                outdated: true
            },
            "{cost:?}"
        );
        assert!(!verdict("other").await.unwrap().fits);
    }
}

#[tokio::test]
async fn an_unknown_user_costs_what_a_known_one_costs() {
    let hasher = hasher(1, 8);
    assert_eq!(hasher.verify(password("anything"), None).await.unwrap(), NO);
    let dummy = Stored::parse(hasher.dummy.expose()).unwrap();
    assert_eq!(
        (
            dummy.params.m_cost(),
            dummy.params.t_cost(),
            dummy.params.p_cost()
        ),
        (64, 1, 1)
    );
    assert_eq!(
        (dummy.salt.len(), dummy.output.len()),
        (SALT_LENGTH, HASH_LENGTH)
    );
}

#[test]
fn a_hash_that_cannot_be_read_fits_nothing_and_takes_as_long() {
    let good = worker(COST).hash(b"secret").unwrap();
    let good = good.expose();
    for bad in [
        "",
        "!",
        "!abcdef",
        "secret",
        "$",
        "$argon2id",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA",
        "pbkdf2_sha256$1000000$salt$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g=",
        "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
        &good.replace("argon2id", "argon2i"),
        &good.replace("argon2id", "argon2d"),
        &good.replace("v=19", "v=16"),
        &good.replace("v=19$", ""),
        &good.replace("m=64", "m=7"),
        &good.replace("t=1", "t=0"),
        &good.replace("p=1", "p=0"),
        &good[..good.len() - 1],
        &format!("{good}$"),
        &format!("{good}\n"),
    ] {
        let mut worker = worker(COST);
        assert_eq!(
            worker.verify(b"secret", &PasswordHash::new(bad)),
            NO,
            "{bad}"
        );
        assert_eq!(worker.memory.len(), 64, "no work was done for {bad}");
    }
}

#[test]
fn a_planted_hash_does_not_take_the_machine() {
    let good = worker(COST).hash(b"secret").unwrap();
    for (from, to) in [
        ("m=64", "m=262145"),
        ("m=64", "m=4294967295"),
        ("t=1", "t=17"),
        ("t=1", "t=4294967295"),
        ("m=64,t=1,p=1", "m=262144,t=1,p=17"),
        ("m=64,t=1,p=1", "m=4294967295,t=4294967295,p=16777215"),
    ] {
        let planted = good.expose().replace(from, to);
        assert!(Stored::parse(&planted).is_none(), "{planted}");
        let mut worker = worker(COST);
        assert_eq!(worker.verify(b"secret", &PasswordHash::new(planted)), NO);
        assert_eq!(worker.memory.len(), 64, "it took more memory than its own");
    }
}

#[test]
fn memory_beyond_the_present_parameters_is_given_back() {
    let old = worker(HashCost {
        memory: 4096,
        ..COST
    })
    .hash(b"secret")
    .unwrap();
    let mut worker = worker(COST);
    assert!(worker.verify(b"secret", &old).fits);
    assert!(
        worker.memory.capacity() < 4096,
        "{} blocks were kept",
        worker.memory.capacity()
    );
}

#[tokio::test]
async fn when_nobody_signs_in_the_memory_is_given_back_and_taken_again() {
    let (hasher, desk) = Hasher::start_with(COST, 2, 8, Duration::from_millis(1)).unwrap();
    let hash = hasher.hash(password("secret")).await.unwrap();
    let held = || desk.spare().iter().map(Vec::capacity).sum::<usize>();
    let deadline = Instant::now() + Duration::from_secs(20);
    while held() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} blocks are still held",
            held()
        );
        tokio::task::yield_now().await;
    }
    assert!(
        hasher
            .verify(password("secret"), Some(hash))
            .await
            .unwrap()
            .fits
    );
}

#[tokio::test]
async fn while_people_sign_in_the_memory_is_kept() {
    let (hasher, desk) = Hasher::start_with(COST, 1, 8, Duration::from_hours(1)).unwrap();
    hasher.hash(password("secret")).await.unwrap();
    // The reply comes before the memory is put back; the next job only after it.
    hasher.hash(password("secret")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.spare().is_empty() {
        assert!(Instant::now() < deadline, "nothing was kept");
        tokio::task::yield_now().await;
    }
    assert_eq!(desk.spare().len(), 1);
}

#[test]
fn what_one_job_left_in_memory_does_not_change_the_next_verdict() {
    let costs = [
        COST,
        HashCost {
            memory: 256,
            ..COST
        },
        HashCost {
            memory: 32,
            passes: 3,
            lanes: 2,
        },
    ];
    let hashes = costs.map(|cost| worker(cost).hash(b"secret").unwrap());
    let mut shared = worker(COST);
    for round in 0..12 {
        let hash = &hashes[round % 3];
        assert!(!shared.verify(b"Secret", hash).fits);
        assert!(shared.verify(b"secret", hash).fits);
        let fresh = shared.hash(b"other").unwrap();
        assert!(
            worker(COST).verify(b"other", &fresh).fits,
            "a used worker makes the hashes of a new one"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_each_get_their_own_verdict() {
    let hasher = hasher(3, 64);
    let one = hasher.hash(password("one")).await.unwrap();
    let two = hasher.hash(password("two")).await.unwrap();
    let jobs: Vec<_> = (0..60)
        .map(|index| {
            let (hasher, hash) = (
                hasher.clone(),
                if index % 2 == 0 {
                    one.clone()
                } else {
                    two.clone()
                },
            );
            tokio::spawn(async move {
                let said = if index % 3 == 0 { "one" } else { "two" };
                let fits = hasher
                    .verify(password(said), Some(hash))
                    .await
                    .unwrap()
                    .fits;
                assert_eq!(fits, (index % 2 == 0) == (said == "one"), "job {index}");
            })
        })
        .collect();
    for job in jobs {
        job.await.unwrap();
    }
}

/// Keeps the only worker busy until the returned sender is dropped or sends.
async fn occupy(hasher: &Hasher) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, released) = channel::<()>();
    let (started, running) = oneshot::channel();
    let hasher = hasher.clone();
    let busy = tokio::spawn(async move {
        let job = hasher.run(move |_| {
            let _ = started.send(());
            let _ = released.recv();
            Ok(())
        });
        job.await.unwrap();
    });
    running.await.unwrap();
    (release, busy)
}

#[tokio::test]
async fn a_full_queue_is_an_answer_and_not_a_wait() {
    let hasher = hasher(1, 1);
    let (release, busy) = occupy(&hasher).await;
    let waiting = tokio::spawn({
        let hasher = hasher.clone();
        async move { hasher.verify(password("x"), None).await }
    });
    // The waiting one takes the only place when it first runs; nobody has to be slept for.
    tokio::task::yield_now().await;
    assert_eq!(
        hasher.verify(password("x"), None).await,
        Err(HashError::Busy)
    );
    assert_eq!(
        hasher.hash(password("x")).await.err(),
        Some(HashError::Busy)
    );
    drop(release);
    busy.await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(NO));
    assert_eq!(
        hasher.verify(password("x"), None).await,
        Ok(NO),
        "and afterwards there is room again"
    );
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_is_not_done() {
    let hasher = hasher(1, 2);
    let (release, busy) = occupy(&hasher).await;
    let done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&done);
    let abandoned = tokio::spawn({
        let hasher = hasher.clone();
        async move {
            let _ = hasher
                .run(move |_| {
                    flag.store(true, Ordering::SeqCst);
                    Ok(())
                })
                .await;
        }
    });
    tokio::task::yield_now().await;
    abandoned.abort();
    let _ = abandoned.await;
    drop(release);
    busy.await.unwrap();
    // The queue is in order: when this one is done, the abandoned one has been passed over.
    hasher.verify(password("x"), None).await.unwrap();
    assert!(!done.load(Ordering::SeqCst));
}

#[test]
fn impossible_parameters_do_not_start() {
    for cost in [
        HashCost { memory: 0, ..COST },
        HashCost { passes: 0, ..COST },
        HashCost { lanes: 0, ..COST },
    ] {
        assert_eq!(
            Hasher::start(cost, 1, 1).err(),
            Some(HashError::Failed),
            "{cost:?}"
        );
    }
}

#[test]
fn a_hash_and_a_password_are_not_shown() {
    let hash = worker(COST).hash(b"secret").unwrap();
    assert!(!format!("{hash:?} {:?}", password("secret")).contains("argon2id"));
    assert!(!format!("{:?}", password("hunter2")).contains("hunter2"));
}

proptest! {
    #[test]
    fn any_text_is_a_stored_hash_or_none(text in any::<String>()) {
        let _ = Stored::parse(&text);
    }

    #[test]
    fn nearly_a_hash_is_a_stored_hash_or_none(text in r"\$argon2(id|i|d)\$(v=[0-9]{1,3}\$)?([mtpk]=[0-9]{0,12},?){0,5}(\$[A-Za-z0-9+/=]{0,100}){0,3}") {
        if let Some(stored) = Stored::parse(&text) {
            prop_assert!(stored.params.m_cost() <= MAX_STORED_MEMORY && stored.params.t_cost() <= MAX_STORED_PASSES);
        }
    }
}
