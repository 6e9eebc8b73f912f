//! Import of existing keys.

use std::fs;

use chrono::{SubsecRound as _, TimeDelta};
use latchkey_domain::keys::{KeyMetadata, PROPAGATION};
use latchkey_service::keys::{Import, KeysError};
use latchkey_verifier::{Algorithm, Kind};

use super::scene::{INTERVAL, LEAD, Scene, passphrase};
use crate::contract::store::Store;

const ED25519: &[u8] =
    include_bytes!("../../../crates/latchkey-crypto/src/fixtures/ed25519_test_key.pem");
const P256: &[u8] =
    include_bytes!("../../../crates/latchkey-crypto/src/fixtures/p256_pkcs8_test_key.pem");
const P256_SCRYPT: &[u8] =
    include_bytes!("../../../crates/latchkey-crypto/src/fixtures/p256_scrypt_test_key.pem");

fn of(bytes: &[u8]) -> Import<'_> {
    Import {
        bytes,
        passphrase: None,
        algorithm: None,
        kind: Kind::Access,
        now: false,
        rotate: false,
    }
}

async fn import(scene: &Scene, import: Import<'_>) -> Result<KeyMetadata, KeysError> {
    Ok(scene.manager().import(&import).await?.facts)
}

#[tokio::test]
async fn imported_key_is_published_before_it_signs() {
    let scene = Scene::directory();
    scene.first().await;
    let taken = import(&scene, of(ED25519)).await.unwrap();
    assert_eq!(
        (taken.kind, taken.algorithm),
        (Kind::Access, Algorithm::EdDsa)
    );
    assert!(taken.signs_from >= scene.now() + LEAD);
    assert_eq!(scene.states().await, ["signing", "published", "signing"]);
    let now = import(
        &scene,
        Import {
            now: true,
            ..of(P256)
        },
    )
    .await
    .unwrap();
    assert!(
        now.signs_from - scene.now() < PROPAGATION + TimeDelta::seconds(1),
        "the key signs after the propagation time"
    );
}

#[tokio::test]
async fn key_imported_into_an_empty_ring_signs_immediately() {
    let scene = Scene::directory();
    let taken = import(&scene, of(P256)).await.unwrap();
    assert_eq!(taken.signs_from, scene.now().trunc_subsecs(0));
    let created = scene.manager().ensure().await.unwrap();
    assert_eq!(
        created
            .iter()
            .map(|created| created.kind)
            .collect::<Vec<_>>(),
        [Kind::Refresh],
        "an access key exists"
    );
}

#[tokio::test]
async fn known_or_revoked_key_is_not_imported() {
    let scene = Scene::directory();
    scene.first().await;
    let taken = import(&scene, of(P256)).await.unwrap();
    assert!(
        matches!(import(&scene, of(P256)).await, Err(KeysError::Known(kid)) if kid == taken.kid)
    );
    scene.manager().revoke(&taken.kid).await.unwrap();
    assert!(
        matches!(import(&scene, of(P256)).await, Err(KeysError::Revoked(kid)) if kid == taken.kid)
    );
    assert_eq!(scene.kids().await.len(), 2);
}

#[tokio::test]
async fn imported_key_is_encrypted_with_the_rings_passphrase() {
    let mut scene = Scene::directory();
    scene.encrypt("the passphrase of a test");
    scene.first().await;
    let foreign = passphrase(&scene.write("foreign", "correct horse battery staple\n"));
    let taken = import(
        &scene,
        Import {
            passphrase: Some(foreign),
            ..of(P256_SCRYPT)
        },
    )
    .await
    .unwrap();
    let text = fs::read_to_string(scene.file_of(&taken.kid)).unwrap();
    assert!(
        text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
        "{text}"
    );
    assert_eq!(
        scene.kids().await.len(),
        3,
        "every key is encrypted with the passphrase of the key ring"
    );
}

#[tokio::test]
async fn secret_is_imported_with_its_algorithm() {
    let scene = Scene::directory();
    scene.first().await;
    let secret: [u8; 48] =
        std::array::from_fn(|index| 40 + u8::try_from(index * index * 7 % 83).unwrap());
    let refresh = Import {
        kind: Kind::Refresh,
        ..of(&secret[..32])
    };
    let secret = Import {
        algorithm: Some(Algorithm::Hs384),
        ..of(&secret)
    };
    assert_eq!(
        import(&scene, secret).await.unwrap().algorithm,
        Algorithm::Hs384
    );
    let taken = import(&scene, refresh).await.unwrap();
    assert_eq!(
        (taken.kind, taken.algorithm),
        (Kind::Refresh, Algorithm::Hs256)
    );
    let pem = Import {
        kind: Kind::Refresh,
        ..of(P256)
    };
    assert!(
        matches!(import(&scene, pem).await, Err(KeysError::Material(_))),
        "a private key is not an HMAC secret"
    );
}

/// Every key file is imported into another key ring, so every token stays valid.
#[tokio::test]
async fn key_ring_can_be_moved_by_import() {
    let (old, new) = (Scene::directory(), Scene::directory());
    let (access, refresh) = old.first().await;
    for facts in [&access, &refresh] {
        let bytes = fs::read(old.file_of(&facts.kid)).unwrap();
        let taken = import(
            &new,
            Import {
                kind: facts.kind,
                ..of(&bytes)
            },
        )
        .await
        .unwrap();
        assert_eq!(&taken, facts);
    }
    assert!(new.manager().ensure().await.unwrap().is_empty());
}

async fn assert_no_automatic_successor(scene: Scene) {
    scene.first().await;
    let taken = import(&scene, of(ED25519)).await.unwrap();
    scene.advance(LEAD + INTERVAL * 3);
    assert!(
        scene.manager().ensure().await.unwrap().is_empty(),
        "another algorithm causes no successor"
    );
    let created = scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        created
            .iter()
            .map(|created| created.kind)
            .collect::<Vec<_>>(),
        [Kind::Refresh]
    );
    let passphrase = passphrase(&scene.write("new", "another passphrase of a test"));
    scene.manager().rewrap(Some(&passphrase)).await.unwrap();
    let mut scene = scene;
    scene.encrypt("another passphrase of a test");
    scene.advance(INTERVAL * 3);
    scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        scene.signer(Kind::Access).await,
        taken.kid,
        "a new passphrase causes no successor"
    );

    let successor = scene.rotate(Kind::Access).await;
    scene.advance(LEAD + INTERVAL);
    assert_eq!(scene.signer(Kind::Access).await, successor.kid);
    assert_eq!(
        scene.manager().rotate_due().await.unwrap()[0].kind,
        Kind::Access,
        "generated keys are rotated"
    );
}

#[tokio::test]
async fn imported_key_in_a_directory_has_no_automatic_successor() {
    assert_no_automatic_successor(Scene::directory()).await;
}

#[tokio::test]
async fn imported_key_in_sqlite_has_no_automatic_successor() {
    assert_no_automatic_successor(Scene::database(Store::sqlite().await)).await;
}

#[tokio::test]
async fn imported_key_in_postgres_has_no_automatic_successor() {
    assert_no_automatic_successor(Scene::database(Store::postgres().await)).await;
}

#[tokio::test]
async fn imported_refresh_secret_has_no_automatic_successor() {
    let scene = Scene::directory();
    let secret: [u8; 48] =
        std::array::from_fn(|index| 40 + u8::try_from(index * index * 7 % 83).unwrap());
    let taken = import(
        &scene,
        Import {
            kind: Kind::Refresh,
            ..of(&secret)
        },
    )
    .await
    .unwrap();
    scene.manager().ensure().await.unwrap();
    scene.advance(INTERVAL * 2);
    scene.manager().rotate_due().await.unwrap();
    scene.advance(LEAD);
    assert_eq!(scene.signer(Kind::Refresh).await, taken.kid);
}

#[tokio::test]
async fn imported_key_with_rotate_gets_a_successor_after_the_interval() {
    let scene = Scene::directory();
    let taken = import(
        &scene,
        Import {
            rotate: true,
            ..of(P256)
        },
    )
    .await
    .unwrap();
    scene.advance(INTERVAL);
    let created = scene.manager().rotate_due().await.unwrap();
    assert_eq!((created.len(), created[0].kind), (1, taken.kind));
}

#[tokio::test]
async fn import_that_signs_first_withdraws_the_pending_key() {
    let scene = Scene::directory();
    scene.first().await;
    let pending = scene.rotate(Kind::Access).await;
    let secret = scene.rotate(Kind::Refresh).await;
    let imported = scene
        .manager()
        .import(&Import {
            now: true,
            ..of(P256)
        })
        .await
        .unwrap();
    assert_eq!(imported.withdrawn, [pending]);
    scene.advance(LEAD * 2);
    assert_eq!(scene.signer(Kind::Access).await, imported.facts.kid);
    assert_eq!(
        scene.signer(Kind::Refresh).await,
        secret.kid,
        "the other kind is unchanged"
    );
}
