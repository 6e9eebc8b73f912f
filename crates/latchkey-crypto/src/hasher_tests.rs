//! Tests of password checks and of stored hashes with their limits.

#[path = "hasher_pool_tests.rs"]
mod pool;

use proptest::prelude::*;

use super::*;

/// Minimum cost, to keep the tests fast.
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

const NO: PasswordCheck = PasswordCheck {
    fits: false,
    outdated: false,
};

#[tokio::test]
async fn only_the_right_password_fits() {
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
        PasswordCheck {
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
    // Long passwords are not truncated after 72 bytes, as they are by bcrypt.
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
async fn each_hash_has_its_own_salt() {
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
async fn hash_with_other_parameters_is_outdated() {
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
            PasswordCheck {
                fits: true,
                outdated: true
            },
            "{cost:?}"
        );
        assert!(!verdict("other").await.unwrap().fits);
    }
}

#[tokio::test]
async fn unknown_user_costs_the_same_as_a_known_one() {
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
fn unreadable_hash_takes_the_usual_time() {
    let valid = worker(COST).hash(b"secret").unwrap();
    let valid = valid.expose();
    for invalid in [
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
        &valid.replace("argon2id", "argon2i"),
        &valid.replace("argon2id", "argon2d"),
        &valid.replace("v=19", "v=16"),
        &valid.replace("v=19$", ""),
        &valid.replace("m=64", "m=7"),
        &valid.replace("t=1", "t=0"),
        &valid.replace("p=1", "p=0"),
        &valid[..valid.len() - 1],
        &format!("{valid}$"),
        &format!("{valid}\n"),
    ] {
        let mut worker = worker(COST);
        assert_eq!(
            worker.verify(b"secret", &PasswordHash::new(invalid)),
            NO,
            "{invalid}"
        );
        assert_eq!(worker.memory.len(), 64, "no work was done for {invalid}");
    }
}

#[test]
fn planted_hash_with_excessive_cost_is_refused() {
    let valid = worker(COST).hash(b"secret").unwrap();
    for (from, to) in [
        ("m=64", "m=262145"),
        ("m=64", "m=4294967295"),
        ("t=1", "t=17"),
        ("t=1", "t=4294967295"),
        ("m=64,t=1,p=1", "m=262144,t=1,p=17"),
        ("m=64,t=1,p=1", "m=4294967295,t=4294967295,p=16777215"),
    ] {
        let planted = valid.expose().replace(from, to);
        assert!(Stored::parse(&planted).is_none(), "{planted}");
        let mut worker = worker(COST);
        assert_eq!(worker.verify(b"secret", &PasswordHash::new(planted)), NO);
        assert_eq!(
            worker.memory.len(),
            64,
            "more memory than for the present parameters"
        );
    }
}

#[test]
fn invalid_parameters_are_rejected() {
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
fn debug_output_has_no_hash_or_password() {
    let hash = worker(COST).hash(b"secret").unwrap();
    assert!(!format!("{hash:?} {:?}", password("secret")).contains("argon2id"));
    assert!(!format!("{:?}", password("hunter2")).contains("hunter2"));
}

proptest! {
    #[test]
    fn parsing_a_hash_never_panics(text in any::<String>()) {
        let _ = Stored::parse(&text);
    }

    #[test]
    fn parsed_hash_is_within_the_limits(text in r"\$argon2(id|i|d)\$(v=[0-9]{1,3}\$)?([mtpk]=[0-9]{0,12},?){0,5}(\$[A-Za-z0-9+/=]{0,100}){0,3}") {
        if let Some(stored) = Stored::parse(&text) {
            prop_assert!(stored.params.m_cost() <= MAX_STORED_MEMORY && stored.params.t_cost() <= MAX_STORED_PASSES);
        }
    }
}
