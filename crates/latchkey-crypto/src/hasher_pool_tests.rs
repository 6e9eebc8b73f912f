//! Tests of the hashing pool: memory between jobs, concurrent jobs, the queue.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    mpsc::channel,
};
use std::time::Instant;

use super::*;

#[test]
fn memory_for_an_old_hash_is_released() {
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
async fn idle_pool_releases_its_memory() {
    let (hasher, shared_memory) = Hasher::start_with(COST, 2, 8, Duration::from_millis(1)).unwrap();
    let hash = hasher.hash(password("secret")).await.unwrap();
    let held = || {
        shared_memory
            .spare()
            .iter()
            .map(Vec::capacity)
            .sum::<usize>()
    };
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
async fn busy_pool_keeps_its_memory() {
    let (hasher, shared_memory) = Hasher::start_with(COST, 1, 8, Duration::from_hours(1)).unwrap();
    hasher.hash(password("secret")).await.unwrap();
    // The reply is sent before the memory is returned. The second job starts after that.
    hasher.hash(password("secret")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while shared_memory.spare().is_empty() {
        assert!(Instant::now() < deadline, "nothing was kept");
        tokio::task::yield_now().await;
    }
    assert_eq!(shared_memory.spare().len(), 1);
}

#[test]
fn reused_memory_does_not_affect_the_result() {
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
            "a used worker computes the same hashes as a new one"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_checks_get_their_own_results() {
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
                let given = if index % 3 == 0 { "one" } else { "two" };
                let fits = hasher
                    .verify(password(given), Some(hash))
                    .await
                    .unwrap()
                    .fits;
                assert_eq!(fits, (index % 2 == 0) == (given == "one"), "job {index}");
            })
        })
        .collect();
    for job in jobs {
        job.await.unwrap();
    }
}

/// Keeps the only worker busy until the returned sender is dropped.
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
async fn full_queue_fails_without_waiting() {
    let hasher = hasher(1, 1);
    let (release, busy) = occupy(&hasher).await;
    let waiting = tokio::spawn({
        let hasher = hasher.clone();
        async move { hasher.verify(password("x"), None).await }
    });
    // The task takes the only place at its first poll, so no sleep is needed.
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
        "the queue accepts jobs again"
    );
}

#[tokio::test]
async fn abandoned_job_is_skipped() {
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
    // Jobs run in order, so the abandoned one was skipped when this one is done.
    hasher.verify(password("x"), None).await.unwrap();
    assert!(!done.load(Ordering::SeqCst));
}
