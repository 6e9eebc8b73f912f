//! Tests of the hashing pool: memory between jobs, concurrent jobs, the queue.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    mpsc::channel,
};
use std::time::Instant;

use super::*;

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
